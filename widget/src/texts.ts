/** Every word the widget itself says, in one table. */

export const texts = {
  title: "Chat",
  greeting: "Hi! Ask us anything. The answer appears right here.",
  placeholder: "Write a message",
  open: "Open chat",
  openUnread: (count: number) => `Open chat, ${count} new ${count === 1 ? "message" : "messages"}`,
  close: "Close chat",
  log: "Conversation",
  earlier: "Show earlier messages",
  send: "Send message",
  retry: "Try again",
  copy: "Copy",
  copied: "Copied",
  stop: "Stop",
  stopping: "Stopping…",
  stopped: "Stopped",
  retrying: "Trying again…",
  away: "We are away right now. Your message is kept and answered when we are back.",
  /** Said before each message to those who cannot see which side it is on. */
  from: { visitor: "You said:", agent: "Reply:", operator: "Reply:", system: "Notice:" },
  fromDraft: "Reply so far:",
  delivery: { sending: "Sending…", sent: "Sent", failed: "Not sent:" },
};
