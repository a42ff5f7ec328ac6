/** When to draw: in the next frame for what a person does, at a calm pace for what streams in. */

export interface Pace {
  /** Asks for a drawing. `streaming`: more of the same will follow, so that this may wait for it. */
  ask(streaming: boolean): void;
  close(): void;
}

/** Draws at most once an animation frame, and while things only stream in at most every `ms`; never leaves anything undrawn. */
export function pace(draw: (streaming: boolean) => void, ms: number): Pace {
  let frame = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let streamed = true;
  let last = Number.NEGATIVE_INFINITY;

  const run = (): void => {
    const streaming = streamed;
    frame = 0;
    streamed = true;
    last = performance.now();
    draw(streaming);
  };
  const request = (): void => {
    clearTimeout(timer);
    timer = undefined;
    frame ||= requestAnimationFrame(run);
  };

  return {
    ask(streaming) {
      streamed &&= streaming;
      const wait = last + ms - performance.now();
      if (!streaming || wait <= 0) request();
      else if (!frame) timer ??= setTimeout(request, wait);
    },
    close() {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    },
  };
}
