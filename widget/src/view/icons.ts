/** The drawings on the buttons, as paths on a 24 by 24 grid. */

export const CHAT =
  "M12 4c-5 0-9 3.3-9 7.4 0 2.3 1.3 4.4 3.3 5.7L5.5 20.5l4-2.1c.8.15 1.65.25 2.5.25 5 0 9-3.3 9-7.3S17 4 12 4Z";
export const THUMB =
  "M8 10.5V20H4.5v-9.5Zm0 0L11.7 3c1.8 0 2.8 1.3 2.4 3l-.8 3.4h5.2a2 2 0 0 1 2 2.5l-1.6 6.5a2.1 2.1 0 0 1-2 1.6H8";
export const DOWN = "M12 5v14m-6.5-6.5L12 19l6.5-6.5";
export const CLOSE = "m6 6 12 12M18 6 6 18";
export const STOP = "M7 7h10v10H7Z";
export const ATTACH =
  "m20 11.5-7.9 7.9a5 5 0 0 1-7.1-7.1l8.3-8.3a3.3 3.3 0 0 1 4.7 4.7l-8.2 8.2a1.7 1.7 0 0 1-2.4-2.4l7.5-7.5";
export const FILE = "M13.5 3H6.5v18h11V7Zm0 0v4h4";
export const SEND = "M12 19V5m-6.5 6.5L12 5l6.5 6.5";
