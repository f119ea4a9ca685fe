// What GraphiQL formats with: prettier for GraphQL, and for JSON the small formatter that is there anyway, in the place
// of a parser of JavaScript that is larger than both.
import { applyEdits, format as edits } from 'jsonc-parser';
import * as prettier from 'prettier/standalone';

type Options = Parameters<typeof prettier.format>[1];

export async function format(text: string, options: Options): Promise<string> {
  if (options?.parser !== 'jsonc') return prettier.format(text, options);
  return applyEdits(text, edits(text, undefined, { insertSpaces: true, tabSize: 2 }));
}

export const printers = {};
export const parsers = {};
