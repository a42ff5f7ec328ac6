/** Does one thing at a time: what is asked meanwhile waits, and of that only the latest is done. */
export function newest<A>(act: (asked: A) => Promise<void>) {
  let next: { asked: A } | null = null;
  let running = false;
  return async (asked: A): Promise<void> => {
    next = { asked };
    if (running) return;
    running = true;
    while (next) {
      const now: { asked: A } = next;
      next = null;
      await act(now.asked);
    }
    running = false;
  };
}
