// An agent as a user would write one: a program that reads one question as JSON from standard
// input, remembers nothing itself, and answers from the history that comes with the question.

let input = '';
for await (const piece of process.stdin) input += piece;
const { message, history } = JSON.parse(input);

const said = history.filter((turn) => turn.role === 'user').map((turn) => turn.content);
const introduced = said.map((text) => /^I am (.+)$/.exec(text)).findLast(Boolean);

if (message === 'Who am I?') {
  console.log(introduced ? `You are ${introduced[1]}.` : 'You have not told me.');
} else if (message === 'What did I say?') {
  console.log(said.map((text, index) => `${index + 1}. ${text}`).join('\n'));
} else {
  console.log(`Noted, as number ${said.length + 1}.`);
}
