/** A short, soft sound; silent where the browser does not let the page make any. */

import type { Locks } from "./lock.ts";

const NOTES_HZ = [660, 880];
const NOTE_SECONDS = 0.12;

/** Sounds in one of the tabs that use the same name: in the first to have called it, while it lasts. */
export function bell(name: string, locks: Locks | undefined, signal: AbortSignal): () => void {
  let isHere = !locks;
  const claim = (lock: Lock | null) => {
    if (!lock) return;
    isHere = true;
    chime();
    return new Promise((resolve) => signal.addEventListener("abort", resolve));
  };
  return () => {
    if (isHere) chime();
    else locks?.request(name, { ifAvailable: true }, claim).catch(chime);
  };
}

function chime(): void {
  const audio = new AudioContext();
  const volume = new GainNode(audio, { gain: 0.05 });
  volume.connect(audio.destination);
  const notes = NOTES_HZ.map((frequency, index) => {
    const note = new OscillatorNode(audio, { frequency });
    note.connect(volume);
    note.start(audio.currentTime + index * NOTE_SECONDS);
    note.stop(audio.currentTime + (index + 1) * NOTE_SECONDS);
    return note;
  });
  notes.at(-1)?.addEventListener("ended", () => audio.close());
}
