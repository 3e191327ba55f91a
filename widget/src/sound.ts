/** A short, soft sound; silent where the browser does not let the page make any. */

const NOTES_HZ = [660, 880];
const NOTE_SECONDS = 0.12;

export function chime(): void {
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
