// The server's clock, which may differ from the browser's: what is drawn over time has times of both.

/** Answers say the time in whole seconds; less than this is no difference, in milliseconds. */
const EXACT = 2000;
let ahead = 0;

/** Hears the time from an answer. */
export function hear(response) {
  const difference = Date.parse(response.headers.get("date")) - Date.now();
  ahead = Math.abs(difference) > EXACT ? difference : 0;
}

/** Milliseconds since 1970 at the server. */
export const now = () => Date.now() + ahead;
