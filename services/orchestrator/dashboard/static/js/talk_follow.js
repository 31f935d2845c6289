/** Keeps the end of a talk on the screen as it grows, for whoever reads there. */

import { frame } from "./dom.js";

const NEAR_END_PX = 120;

export function followEnd(main) {
  const belowScreen = () => main.getBoundingClientRect().bottom - innerHeight;
  const toEnd = () => belowScreen() > 0 && scrollBy({ top: belowScreen(), behavior: "instant" });
  let isAtEnd = true;
  addEventListener("scroll", () => (isAtEnd = belowScreen() < NEAR_END_PX), { passive: true });
  new ResizeObserver(() => isAtEnd && frame(toEnd)).observe(main);
}
