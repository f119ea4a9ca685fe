// The slider that asks for an earlier time.

import { h } from './dom.ts';

const STEPS = 1_000;

export class TimeBar {
  private readonly range = h('input', { type: 'range', min: 0, max: STEPS, value: STEPS, 'aria-label': 'As of', disabled: true });
  private readonly exact = h('input', { type: 'datetime-local', step: 1, 'aria-label': 'As of, exactly' });
  private readonly output = h('output', {}, 'now');
  readonly element = h('div', { class: 'lp-time' }, h('span', { class: 'lp-word' }, 'As of'), this.range, this.exact,
    h('button', { type: 'button', click: () => this.go(undefined) }, 'Now'), this.output);
  private earliest = Infinity;
  private asked?: number;

  /** `ask` asks the question again as of that time, and says why where it cannot. */
  constructor(private readonly ask: (time: string | undefined) => string | undefined) {
    this.range.addEventListener('input', () => this.label(this.at()));
    this.range.addEventListener('change', () => this.go(this.at()));
    this.exact.addEventListener('change', () => {
      const time = Date.parse(this.exact.value);
      if (!Number.isNaN(time)) this.go(time);
    });
  }

  /** What was shown speaks of times from this one on. */
  reaches(earliest: string | undefined): void {
    if (earliest) this.earliest = Math.min(this.earliest, Date.parse(earliest));
    this.range.disabled = this.earliest === Infinity;
    this.range.title = this.range.disabled ? 'Ask for since of edges, or createdAt, to have a time to go back to' : '';
    if (this.asked === undefined) this.range.value = String(STEPS);
  }

  /** A time was asked for in another way. */
  set(time: string | undefined): void {
    this.asked = time === undefined ? undefined : Date.parse(time);
    this.label(this.asked);
  }

  private at(): number | undefined {
    const step = Number(this.range.value);
    if (step >= STEPS) return undefined;
    return this.earliest - 1_000 + ((Date.now() - this.earliest + 1_000) * step) / STEPS;
  }

  private go(time: number | undefined): void {
    const why = this.ask(time === undefined ? undefined : new Date(time).toISOString());
    if (why) {
      this.output.textContent = why;
      return;
    }
    this.asked = time;
    if (time === undefined) this.range.value = String(STEPS);
    this.label(time);
  }

  private label(time: number | undefined): void {
    const said = time === undefined ? 'now' : new Date(time).toISOString().replace('T', ' ').slice(0, 19) + ' UTC';
    this.output.textContent = said;
    this.range.setAttribute('aria-valuetext', said);
  }
}
