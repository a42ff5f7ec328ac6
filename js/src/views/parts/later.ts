/** Waits until nothing has been asked for `ms` milliseconds, then does it once, with what was asked last. */
export function later<A extends unknown[]>(act: (...asked: A) => void, ms: number) {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = (...asked: A): void => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...asked), ms);
  };
  return Object.assign(wait, { cancel: () => clearTimeout(timer) });
}
