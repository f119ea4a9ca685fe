// A client in a page: what an operation asks for and answers is known to the compiler.

import { useEffect, useState } from 'react';
import type { TypedDocumentString } from './gql/graphql.ts';

export interface Answer<T> {
  data?: T | null;
  /** Parts of the answer that were denied or failed; the rest is there all the same. */
  errors?: { message: string }[];
}

/** Whether Lineal was given the manifest of this build: then documents are asked for by name. */
declare const TRUSTED: boolean;

const token = (): string | undefined => sessionStorage.getItem('token') ?? undefined;

export async function ask<T, V>(document: TypedDocumentString<T, V>, variables: V): Promise<Answer<T>> {
  const bearer = token();
  const asked = TRUSTED ? { documentId: `sha256:${document.__meta__?.['hash']}` } : { query: document.toString() };
  const response = await fetch('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(bearer ? { authorization: `Bearer ${bearer}` } : {}) },
    body: JSON.stringify({ ...asked, variables }),
  });
  return (await response.json()) as Answer<T>;
}

/** The answer, once it is there; anew when a variable changes. */
export function useAnswer<T, V>(document: TypedDocumentString<T, V>, variables: V): Answer<T> | undefined {
  const [answer, setAnswer] = useState<Answer<T>>();
  const key = JSON.stringify(variables);
  useEffect(() => {
    let current = true;
    setAnswer(undefined);
    ask(document, JSON.parse(key) as V)
      .catch((error: Error): Answer<T> => ({ errors: [{ message: error.message }] }))
      .then((told) => current && setAnswer(told));
    return () => { current = false; };
  }, [document, key]);
  return answer;
}
