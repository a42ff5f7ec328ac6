/** The page's end of the line to the kernel, one per model: frames in, commands out, what is known about both. */
import { faultOfMessage, notUnderstood } from "./answers.js";
import type { Overlay } from "./overlay.js";
import { type Failure, LIMITS, type State, type ToKernel, type ToPage } from "./protocol.js";
import { type Answer, type Asking, type Command, NO_ANSWER, Requests } from "./requests.js";
import { unpack } from "./snapshot.js";
import type { Library, Look, Marks, Settings, Status } from "./state.js";
import { Store } from "./store.js";
import { Traits } from "./traits.js";
import { decode } from "./wire.js";

/** What of the widget's model is used here; anywidget's, or a stand-in's. */
export interface Model {
  get(name: string): unknown;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  comm_live?: boolean;
  readonly widget_manager?: { get_model(id: string): Promise<{ comm_live?: boolean }> };
  /** There is no kernel and never was one: this is a page made of a trace. */
  readonly recorded?: boolean;
}

/** How long the page's own selection holds against a kernel that has not heard of it yet. */
const SELECTION_MS = 1_500;
/** One replay is asked for at a time; this long after the last one it counts as lost. */
const REPLAY_MS = 1_000;

const GONE = "The kernel was restarted or has ended. Run the cell again for a live widget.";
const NOT_KEPT = "The run was not kept in the notebook. Run the cell again for a live widget.";
const SAVED = "This is the run as it was saved with the notebook. Run the cell again for a live widget.";

/** Frames of a snapshot are older than any that a kernel sends. */
const SNAPSHOT_EPOCH = 0;

const TRAITS = ["panels", "prompt", "settings", "selection", "look", "marks"] as const;
/** Traits with figures that change all the time. */
const FIGURES = ["status", "library"] as const;
/** States in which rows and figures come by themselves, many times a second. */
const STREAMING: readonly State[] = ["prefill", "generating"];

export class Link {
  readonly store = new Store();
  /** Why the kernel cannot be reached; "" where it can, as far as is known. */
  silence = "";
  /** What went wrong with the last command, until another one is given. */
  failure: Failure | null = null;
  views = 0;

  readonly #model: Model;
  readonly #listeners = new Set<(streaming: boolean) => void>();
  readonly #requests = new Requests((message) => this.#post(message));
  readonly #traits: Traits;
  readonly #heart: ReturnType<typeof setInterval>;
  /** The frame behind which frames were lost; infinite where none was. */
  #lost = Number.POSITIVE_INFINITY;
  /** What is called when a trait changes, which is newer than what a message said of it. */
  readonly #synced = new Map<string, () => void>([
    ...TRAITS.map((name) => [name, () => this.#traitChanged(name)] as const),
    ...FIGURES.map((name) => [name, () => this.#figuresChanged(name)] as const),
  ]);
  #asked = Number.NEGATIVE_INFINITY;
  #chosen: { node: number; until: number } | null = null;
  #state: State = "empty";
  /** What the reader has chosen of the look and the kernel has not said yet. */
  #liked: Partial<Look> = {};
  #overlay: Overlay | null = null;

  constructor(model: Model) {
    this.#model = model;
    this.#traits = new Traits(
      (name) => model.get(name),
      (fault) => {
        this.failure = notUnderstood(fault);
      },
    );
    model.on("msg:custom", this.#receive);
    model.on("comm_live_update", this.#disconnected);
    this.#state = this.status.state;
    for (const [trait, changed] of this.#synced) model.on(`change:${trait}`, changed);
    this.#heart = setInterval(this.#beat, LIMITS.heartbeat_ms);
    if (model.comm_live === false) this.#disconnected();
    void this.#askManager();
    this.#replay();
    void this.#restore();
  }

  close(): void {
    clearInterval(this.#heart);
    this.#model.off("msg:custom", this.#receive);
    this.#model.off("comm_live_update", this.#disconnected);
    for (const [trait, changed] of this.#synced) this.#model.off(`change:${trait}`, changed);
    this.#listeners.clear();
  }

  /**
   * Calls back whenever anything that a view shows has changed; `streaming`: no more than further rows or figures
   * of a run that goes on. Returns what ends that.
   */
  onChange(listener: (streaming: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get panels(): readonly string[] {
    return this.#traits.panels;
  }

  get prompt(): string {
    return this.#traits.prompt;
  }

  get settings(): Partial<Settings> {
    return this.#traits.settings;
  }

  get status(): Status {
    return this.#traits.status;
  }

  get marks(): Marks {
    return this.#traits.marks;
  }

  get library(): Library {
    return this.#traits.library;
  }

  get look(): Look {
    return { ...this.#traits.look, ...this.#liked };
  }

  /** Changes one setting of the look: at once in this page, and for good when the kernel has agreed. */
  async prefer<K extends keyof Look>(name: K, value: Look[K]): Promise<Failure | null> {
    this.#liked = { ...this.#liked, [name]: value };
    if (!this.reachable) {
      this.#changed(); // for as long as the page stands
      return null;
    }
    const failure = await this.command({ kind: "look", name, value });
    if (this.#liked[name] === value) delete this.#liked[name];
    this.#changed();
    return failure;
  }

  /** What the text is coloured by instead of the metric, while a panel shows that. */
  get overlay(): Overlay | null {
    return this.#overlay;
  }

  set overlay(overlay: Overlay | null) {
    if (overlay === this.#overlay) return;
    this.#overlay = overlay;
    this.#changed(STREAMING.includes(this.#state));
  }

  /** Whether a model is on its way. */
  get #loading(): boolean {
    return this.status.state === "loading" || this.library.tasks.some(({ error }) => !error);
  }

  /**
   * The state as far as gestures go: a recorded run whose model is loaded can go on, and beside another one a new
   * run can begin.
   */
  get able(): State {
    const { state, model } = this.status;
    if (state === "error" && !model && !this.store.length) return "closed"; // nothing can be done without one
    if (state !== "closed" || this.recorded) return state;
    const { models, sessions } = this.library;
    const shown = sessions.find(({ current }) => current);
    return shown?.live ? "ready" : shown && models.length ? "empty" : state;
  }

  get reachable(): boolean {
    return this.silence === "";
  }

  /** Whether this is a page made of a trace: there is no kernel to ask, and nothing wrong with that. */
  get recorded(): boolean {
    return this.#model.recorded ?? false;
  }

  /** Whether the kernel is gone, and what is shown was saved with the notebook. */
  get saved(): boolean {
    return !this.reachable && this.store.epoch === SNAPSHOT_EPOCH && this.store.size > 0;
  }

  /** The node the reader chose, on the path that is shown; -1: none, so that the newest is looked at. */
  get selection(): number {
    const chosen = this.#chosen;
    const node = chosen && performance.now() < chosen.until ? chosen.node : this.#traits.selection;
    if (node < 0 || node >= this.store.size || this.store.onPath(node)) return node < this.store.size ? node : -1;
    // Another branch is shown now: the same place on it.
    return this.store.at(this.store.depth[node]);
  }

  select(node: number): void {
    this.#chosen = { node, until: this.reachable ? performance.now() + SELECTION_MS : Number.POSITIVE_INFINITY };
    this.#post({ kind: "select", node });
    this.#changed();
  }

  /**
   * Shows the path to a node: the session's from now on, where there is a kernel; else in this page alone. What comes
   * back is why it was refused, or null.
   */
  async goto(node: number): Promise<Failure | null> {
    const failure = this.reachable && !this.recorded ? await this.command({ kind: "goto", node }) : null;
    if (failure) return failure;
    this.store.goto(node); // the frame that says so may come behind the answer
    this.#changed();
    return null;
  }

  /** Shows the first tokens of the path alone. `playing`: the next ones follow soon. */
  show(length: number, playing: boolean): void {
    this.store.show(length);
    this.#changed(playing);
  }

  /** Asks the kernel for something: its value, or why it was refused. Changes nothing that is shown. */
  ask<T, P = never>(command: Command, asking: Asking<P> = {}): Promise<Answer<T>> {
    const answer = this.#requests.ask<T, P>(command, asking);
    if (!this.reachable) this.#giveUp();
    return answer;
  }

  /** Gives the kernel a command; what comes back is why it was refused, or null. */
  async command(command: Command): Promise<Failure | null> {
    this.failure = null;
    const answer = this.ask(command);
    this.#changed();
    const settled = await answer;
    return settled.ok ? null : settled.error;
  }

  /** A command whose refusal is shown in the banner. */
  async order(command: Command): Promise<void> {
    const failure = await this.command(command);
    if (failure) this.complain(failure);
  }

  /** Shows in the banner why something was refused. */
  complain(failure: Failure): void {
    this.failure = failure;
    this.#changed();
  }

  dismiss(): void {
    this.failure = null;
    this.#changed();
  }

  #post(message: ToKernel): void {
    try {
      this.#model.send(message);
    } catch {
      this.#disconnected();
    }
  }

  #replay(): void {
    const now = performance.now();
    if (now - this.#asked < REPLAY_MS) return;
    this.#asked = now;
    const { epoch, size, seq } = this.store;
    this.#post({ kind: "replay", epoch, have: size, seq: Math.min(seq, this.#lost) });
    this.#lost = Number.POSITIVE_INFINITY;
  }

  /** anywidget does not say whether a model has a kernel; the notebook's manager does. */
  async #askManager(): Promise<void> {
    const found = await this.#model.widget_manager?.get_model(String(this.#model.get("ident"))).catch(() => undefined);
    if (found?.comm_live === false) this.#disconnected();
  }

  /** Shows what was kept with the notebook or the page. Whatever the kernel sends takes its place. */
  async #restore(): Promise<void> {
    const snapshot = this.#model.get("snapshot") ?? null;
    if (snapshot === null || (ArrayBuffer.isView(snapshot) && !snapshot.byteLength)) return;
    try {
      if (!ArrayBuffer.isView(snapshot)) throw new TypeError("it is no data");
      const frames = await unpack(snapshot);
      if (this.store.epoch > SNAPSHOT_EPOCH) return;
      const missing = frames.some((frame) => this.store.apply(frame) === "gap") || this.store.incomplete;
      if (missing) throw new RangeError("a part of it is missing");
      if (!this.reachable) this.#disconnected();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.failure = { type: "SnapshotError", message: `The saved run cannot be read: ${why}` };
    }
    this.#changed();
  }

  readonly #receive = (content: unknown, buffers: unknown = []): void => {
    const fault = faultOfMessage(content);
    this.silence = "";
    if (this.failure === NO_ANSWER) this.failure = null;
    if (fault) this.failure = notUnderstood(fault);
    const streams = fault ? false : this.#take(content as ToPage, Array.isArray(buffers) ? buffers : []);
    this.#changed(streams && STREAMING.includes(this.#state));
  };

  /** Takes in what the kernel said. Whether more of the same will follow. */
  #take(message: ToPage, buffers: readonly DataView[]): boolean {
    switch (message.kind) {
      case "trait":
        this.#traits.tell(message.name, message.value);
        return this.#stateStays();
      case "note":
        this.failure = message.error;
        return false;
      case "reply":
        this.#requests.settle(message, buffers);
        return false;
      case "partial": {
        const fault = this.#requests.tell(message);
        if (fault) this.failure = notUnderstood(fault);
        return true;
      }
      case "rows":
        this.#rows(message, buffers);
        return true;
    }
  }

  #rows({ watched }: ToPage & { kind: "rows" }, [bytes, values]: readonly DataView[]): void {
    const { seq } = this.store;
    try {
      if (!ArrayBuffer.isView(bytes)) throw new TypeError("a frame came without its bytes");
      const frame = decode(bytes, values && [(watched ?? []) as string[], values]);
      const outcome = this.store.apply(frame);
      if (outcome === "applied") this.#asked = Number.NEGATIVE_INFINITY;
      if (outcome === "late") this.#lost = Math.min(this.#lost, seq);
      if (outcome !== "applied") this.#replay();
    } catch (error) {
      this.failure = notUnderstood(error instanceof Error ? error.message : String(error));
      this.#replay();
    }
  }

  readonly #beat = (): void => {
    if (!this.reachable) return; // a new kernel knows nothing of this widget
    if (this.store.incomplete || this.#lost < Number.POSITIVE_INFINITY) this.#replay();
    this.#post({ kind: "alive", seq: this.store.seq, views: this.views });
    if (!this.#loading) this.#requests.expire(); // else the answer may take as long as that
  };

  readonly #disconnected = (): void => {
    this.silence = GONE;
    if (this.saved) this.silence = SAVED;
    else if (!this.store.size && this.status.used) this.silence = NOT_KEPT;
    this.#giveUp();
    this.#changed();
  };

  /** Tells everybody who waits for an answer that none will come. */
  #giveUp(): void {
    this.#requests.giveUp({ type: "No kernel", message: this.silence });
  }

  #traitChanged(name: string): void {
    this.#traits.synced(name);
    this.silence = ""; // only the kernel writes traits
    if (this.#chosen?.node === this.#traits.selection) this.#chosen = null;
    this.#changed();
  }

  #figuresChanged(name: string): void {
    this.#traits.synced(name);
    this.silence = "";
    this.#changed(this.#stateStays() && STREAMING.includes(this.#state));
  }

  /** Takes note of the state. Whether it is the one that it was. */
  #stateStays(): boolean {
    const before = this.#state;
    this.#state = this.status.state;
    return this.#state === before;
  }

  #changed(streaming = false): void {
    for (const listener of this.#listeners) listener(streaming);
  }
}
