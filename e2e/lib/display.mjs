// An X display of our own, which nobody sees.

import { start, waitForLine } from "./process.mjs";

/** Starts one; returns { display, name }: the process, and what DISPLAY is to be. */
export async function startDisplay(Xvfb) {
  // Xvfb chooses a free display itself and writes its number to descriptor 1: no race between two runs.
  const display = start(Xvfb, ["-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]);
  try {
    const number = await waitForLine(display, (line) => /^\d+$/.test(line.trim()), 20_000);
    return { display, name: `:${number.trim()}` };
  } catch (error) {
    await display.stop();
    throw error;
  }
}
