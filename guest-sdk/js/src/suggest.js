// The name that a misspelt one was probably meant to be.

/** The nearest among `known`, if it is near: at most a third of its letters differ. */
export function nearest(word, known) {
  let best;
  let least = Infinity;
  for (const name of known) {
    const steps = distance([...word], [...name]);
    if (steps < least && steps <= Math.max(1, Math.floor([...name].length / 3))) [best, least] = [name, steps];
  }
  return best;
}

/** Letters to insert, remove, change or swap with the next to get from `a` to `b`. */
function distance(a, b) {
  const steps = [b.map((_, j) => j).concat(b.length)]; // steps[i][j]: from the first i letters of a to the first j of b
  for (let i = 1; i <= a.length; i++) {
    steps[i] = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = steps[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      steps[i][j] = Math.min(
        changed,
        steps[i - 1][j] + 1,
        steps[i][j - 1] + 1,
        swapped ? steps[i - 2][j - 2] + 1 : Infinity,
      );
    }
  }
  return steps[a.length][b.length];
}

/** `the sentence; did you mean …?`, or with what there is instead. */
export function suggested(sentence, word, known, otherwise) {
  const near = nearest(word, known);
  return near === undefined ? `${sentence}; ${otherwise}` : `${sentence}; did you mean \`${near}\`?`;
}
