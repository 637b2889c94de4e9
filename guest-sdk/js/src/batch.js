// The rows of one call, column by column.

import { view } from './columns.js';
import { rowToJson } from './json.js';

export class Batch {
  /** `columns` of a schema, each with `key`, the name that the plugin knows it by, if that is another. */
  constructor(columns, rows, buffers) {
    this.rows = rows;
    this.schema = columns;
    this.views = columns.map((column, at) => view(column, rows, buffers[at]));
    this.columns = Object.fromEntries(columns.map(({ key, name }, at) => [key ?? name, this.views[at]]));
  }

  /** The values of a row, in the order of the columns. */
  values(row) {
    return this.views.map((column) => column.get(row));
  }

  /** A row as an object. */
  row(row) {
    return Object.fromEntries(this.views.map((column) => [column.name, column.get(row)]));
  }

  /** A row as a JSON object: values as the host's own sinks write them, and `null` where there is none. */
  json(row) {
    return rowToJson(this.schema, this.values(row));
  }
}
