/** Means over a path that grows, in a bounded number of equal stretches. */

/** Stretches at most; when they are used up, each becomes twice as long. */
const MOST = 512;

export class Profile {
  /** Positions in a stretch: a power of two. */
  span = 1;
  /** Positions taken in. */
  length = 0;
  #sums = new Float64Array(MOST);

  get stretches(): number {
    return Math.ceil(this.length / this.span);
  }

  mean(stretch: number): number {
    return this.#sums[stretch] / Math.min(this.span, this.length - stretch * this.span);
  }

  /**
   * Takes over a path of `length` positions that is the same up to `keep`; only the others are asked for.
   * Whether anything has changed.
   */
  update(length: number, keep: number, valueAt: (position: number) => number): boolean {
    if (keep >= this.length && length === this.length) return false;
    this.#truncate(Math.min(keep, this.length));
    if (this.span > 1 && length * 4 < MOST * this.span) this.#clear();
    while (length > MOST * this.span) this.#coarsen();
    // The stretch that is open was cut at its beginning.
    for (let at = this.length; at < length; at++) this.#sums[Math.floor(at / this.span)] += valueAt(at);
    this.length = length;
    return true;
  }

  /** Forgets all that lies in the stretch of a position or behind it. */
  #truncate(position: number): void {
    const stretch = Math.floor(position / this.span);
    const whole = position === this.length && position % this.span > 0;
    if (whole) return; // nothing is taken back: the open stretch goes on
    this.#sums.fill(0, stretch);
    this.length = stretch * this.span;
  }

  /** The path is too short by now for stretches so long. */
  #clear(): void {
    this.span = 1;
    this.length = 0;
    this.#sums.fill(0);
  }

  #coarsen(): void {
    for (let i = 0; i < MOST; i++) this.#sums[i] = i < MOST / 2 ? this.#sums[2 * i] + this.#sums[2 * i + 1] : 0;
    this.span *= 2;
  }
}
