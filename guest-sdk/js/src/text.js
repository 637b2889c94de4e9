// Splitting text at speed: in the component a call of a built-in function is cheap, and each step of the interpreter is not.

const SPACES = ['\t', '\n', '\f', '\r'];

/** The words: the longest pieces without ASCII white space. */
export function words(text) {
  const blank = SPACES.some((space) => text.includes(space)) ? text.replace(/[\t\n\f\r]/g, ' ') : text;
  const pieces = blank.split(' ');
  return pieces.includes('') ? pieces.filter((piece) => piece !== '') : pieces;
}
