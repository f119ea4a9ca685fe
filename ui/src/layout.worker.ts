import { layout, type LayoutInput } from './layout.ts';

self.onmessage = ({ data }: MessageEvent<LayoutInput & { turn: number }>) => {
  self.postMessage({ turn: data.turn, ...layout(data) });
};
