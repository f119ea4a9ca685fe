// The slider that asks for an earlier time.

import { h } from './dom.ts';

const STEPS = 1_000;

/** What cannot be read as a time is said as it is: the answer says that it was none. */
function spoken(time: string | number | undefined): string {
  if (time === undefined) return 'now';
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? String(time) : `${at.toISOString().replace('T', ' ').slice(0, 19)} UTC`;
}

/** As an input of time and date has it. */
const local = (time: number): string => new Date(time - new Date(time).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

export class TimeBar {
  private readonly range = h('input', { type: 'range', min: 0, max: STEPS, value: STEPS, 'aria-label': 'As of', disabled: true });
  private readonly exact = h('input', { type: 'datetime-local', step: 1, 'aria-label': 'As of, exactly' });
  private readonly output = h('output', {}, 'now');
  readonly element = h('div', { class: 'lp-time' }, h('span', { class: 'lp-word' }, 'As of'), this.range, this.exact,
    h('button', { type: 'button', click: () => this.go(undefined) }, 'Now'), this.output);
  private earliest = Infinity;
  private times: readonly (string | undefined)[] = [undefined];

  /** `ask` asks the question again as of that time, and says why where it cannot. */
  constructor(private readonly ask: (time: string | undefined) => string | undefined) {
    this.range.addEventListener('input', () => this.label(spoken(this.at())));
    this.range.addEventListener('change', () => this.go(this.at()));
    this.exact.addEventListener('change', () => {
      const time = Date.parse(this.exact.value);
      if (!Number.isNaN(time)) this.go(time);
    });
  }

  /** What is shown is of these times, undefined for now, and speaks of times from the earliest on. */
  set(times: readonly (string | undefined)[], earliest: string | undefined): void {
    if (earliest) this.earliest = Math.min(this.earliest, Date.parse(earliest));
    this.range.disabled = this.earliest === Infinity;
    this.range.title = this.range.disabled ? 'Ask for since of edges, or createdAt, to have a time to go back to' : '';
    this.times = times;
    this.place();
  }

  private at(): number | undefined {
    const step = Number(this.range.value);
    if (step >= STEPS) return undefined;
    return this.earliest - 1_000 + ((Date.now() - this.earliest + 1_000) * step) / STEPS;
  }

  private go(time: number | undefined): void {
    const asked = time === undefined ? undefined : new Date(time).toISOString();
    const why = this.ask(asked);
    if (!why) this.times = [asked];
    this.place();
    if (why) this.output.textContent = why;
  }

  private place(): void {
    const said = new Set(this.times.map((time) => spoken(time)));
    const time = said.size === 1 ? Date.parse(this.times[0] ?? '') : NaN;
    const step = Math.round(((time - this.earliest + 1_000) * STEPS) / (Date.now() - this.earliest + 1_000));
    this.range.value = String(Number.isNaN(step) ? STEPS : Math.min(step, STEPS - 1));
    // Who is typing there is not to be disturbed by the answer to the half of it.
    if (document.activeElement !== this.exact) this.exact.value = Number.isNaN(time) ? '' : local(time);
    this.label(said.size === 1 ? [...said][0]! : 'several times');
  }

  private label(said: string): void {
    this.output.textContent = said;
    this.range.setAttribute('aria-valuetext', said);
  }
}
