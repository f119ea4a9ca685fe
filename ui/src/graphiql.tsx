// GraphiQL with the lineage picture.

import './csp.ts';
import 'monaco-graphql/esm/monaco-editor.js';
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import 'graphiql/graphiql.css';
import './lineage.css';
import './graphiql-page.css';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { type GraphiQLPlugin, type TabsState, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { GraphiQL } from 'graphiql';
import { getOperationAST, Kind, parse } from 'graphql';
import { useEffect, useRef } from 'react';
import { createRoot } from 'react-dom/client';
import { account } from './account.ts';
import { h } from './dom.ts';
import { type Example, examples, FIND, found, type Found } from './examples.ts';
import { readAnswer } from './graph.ts';
import { Picture } from './picture.ts';
import { type Asked, asOfQuery, timesOf, withExpansion, withWays, type Written } from './queries.ts';
import { ask, base, config, type Config, finish, tokenFromAddress } from './signin.ts';

self.MonacoEnvironment = {
  getWorker(_id: string, label: string) {
    const name = label === 'json' || label === 'graphql' ? label : 'editor';
    return new Worker(new URL(`graphiql/${name}.worker.js`, base), { type: 'module' });
  },
};

interface Writing {
  /** Puts a question into the editors, and asks it: this operation, which a document of one need not name. */
  ask(query: string, variables?: string, operationName?: string | null): void;
  newTab(): void;
}

function useWriting(): Writing {
  const { addTab, run, setOperationFacts } = useGraphiQLActions();
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  return {
    ask(query, variables, operationName) {
      const documentAST = parse(query);
      const operation = getOperationAST(documentAST, operationName);
      if (!operation) return;
      queryEditor?.setValue(query);
      // The keys of GraphiQL run what the cursor is in, which would be whatever comes first.
      queryEditor?.setPosition(queryEditor.getModel()!.getPositionAt(operation.loc!.start));
      if (variables !== undefined) variableEditor?.setValue(variables);
      const operations = documentAST.definitions.filter((each) => each.kind === Kind.OPERATION_DEFINITION);
      setOperationFacts({ documentAST, operations, operationName: operation.name?.value });
      run();
    },
    newTab: addTab,
  };
}

/** What the answer of each tab answers, by the tab's id: the editors may hold something else by now. */
const answered = new Map<string, Asked>();
let latest: Asked | undefined;

function fetcher(body: Asked) {
  if (body.operationName !== 'IntrospectionQuery') latest = body;
  return ask(body) as never;
}

/** GraphiQL empties a tab's answer when it asks, and gives it to the tab that is open when it comes. */
function tabChanged({ tabs, activeTabIndex }: TabsState): void {
  const { id, response } = tabs[activeTabIndex]!;
  if (!response) answered.delete(id);
  else if (latest && !answered.has(id)) answered.set(id, latest);
}

function LineagePanel() {
  const holder = useRef<HTMLDivElement>(null);
  const picture = useRef<Picture>(undefined);
  const keep = useRef(false);
  const drawn = useRef<Asked>({ query: '' });
  const tab = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.id);
  const response = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.response);
  const query = useGraphiQL((state) => state.queryEditor);
  const variables = useGraphiQL((state) => state.variableEditor);
  const theme = useGraphiQL((state) => state.theme);
  const writing = useWriting();
  const host = useRef({ writing, query, variables });
  host.current = { writing, query, variables };

  useEffect(() => {
    const current = (): Asked => ({ query: host.current.query?.getValue() ?? '', operationName: drawn.current.operationName });
    const more = ({ query, alone }: Written) => {
      keep.current = true;
      if (alone && current().query.trim()) host.current.writing.newTab();
      host.current.writing.ask(query, undefined, alone ? undefined : drawn.current.operationName);
    };
    picture.current = new Picture(holder.current!, {
      expand: (id, direction) => more(withExpansion(current(), id, direction, timesOf(drawn.current)[0])),
      way: (from, to, direction) => more(withWays(current(), from, to, direction, timesOf(drawn.current)[0])),
      asOf: (time) => {
        const changed = asOfQuery(current(), time);
        if (typeof changed === 'string') return changed;
        let variables: string | undefined;
        try {
          if (changed.variables.length) variables = timed(host.current.variables?.getValue() ?? '', changed.variables, time);
        } catch {
          return 'the variables are no JSON';
        }
        keep.current = true;
        host.current.writing.ask(changed.query, variables, drawn.current.operationName);
        return undefined;
      },
    });
    return () => picture.current?.destroy();
  }, []);
  useEffect(() => {
    if (!response) {
      if (!keep.current) picture.current?.note('Run a query: what its answer holds of nodes and edges is drawn here.');
      return;
    }
    drawn.current = answered.get(tab!) ?? { query: '' };
    try {
      picture.current?.show(readAnswer(JSON.parse(response)), timesOf(drawn.current), keep.current);
    } catch {
      picture.current?.note(response.slice(0, 300));
    }
    keep.current = false;
  }, [response, tab]);
  useEffect(() => {
    const system = matchMedia('(prefers-color-scheme: dark)');
    const follow = () => picture.current?.setDark(theme ? theme === 'dark' : system.matches);
    follow();
    system.addEventListener('change', follow);
    return () => system.removeEventListener('change', follow);
  }, [theme]);
  return <div ref={holder} />;
}

function timed(text: string, names: readonly string[], time: string | undefined): string {
  const values = JSON.parse(text.trim() || '{}') as Record<string, unknown>;
  // Left out, one would be of its default.
  for (const name of names) values[name] = time ?? null;
  return JSON.stringify(values, null, 2);
}

const LINEAGE: GraphiQLPlugin = {
  title: 'Lineage',
  icon: () => (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5">
      <circle cx="5" cy="12" r="3" /><circle cx="19" cy="5" r="3" /><circle cx="19" cy="19" r="3" /><path d="M8 11l8-5M8 13l8 5" />
    </svg>
  ),
  content: LineagePanel,
};

function Examples({ list }: { list: readonly Example[] }) {
  const writing = useWriting();
  const empty = useGraphiQL((state) => !state.queryEditor?.getValue().trim());
  const choose = (at: number) => {
    const { query } = list[at]!;
    if (!empty) writing.newTab();
    writing.ask(query, '');
  };
  return (
    <select className="examples" aria-label="Examples" value="" onChange={(event) => choose(Number(event.target.value))}>
      <option value="" disabled>Examples</option>
      {list.map(({ title }, at) => <option key={title} value={at}>{title}</option>)}
    </select>
  );
}

function Page({ found: things, open }: { found: Found; open: boolean }) {
  const list = examples(things);
  const linked = new URLSearchParams(location.hash.slice(1));
  const first = list[0]!;
  return (
    <GraphiQL
      fetcher={fetcher}
      onTabChange={tabChanged}
      defaultTabs={[{ query: first.query }]}
      {...(linked.has('query') ? { initialQuery: linked.get('query')!, initialVariables: linked.get('variables') ?? '' } : {})}
      {...(open ? {} : { schema: null })}
      plugins={[HISTORY_PLUGIN, LINEAGE]}
      visiblePlugin="Lineage"
      isHeadersEditorEnabled={false}
      showPersistHeadersSettings={false}
      shouldPersistHeaders={false}
      defaultEditorToolsVisibility="variables"
    >
      <GraphiQL.Logo><Examples list={list} /></GraphiQL.Logo>
    </GraphiQL>
  );
}

async function start(): Promise<void> {
  tokenFromAddress();
  const bar = document.getElementById('bar')!;
  let settings: Config;
  let problem: string | undefined;
  let open = false;
  try {
    settings = await config();
    const back = await finish(settings).catch((error: Error) => { problem = `Signing in failed: ${error.message}`; return undefined; });
    if (back) return location.replace(back);
    open = await account(bar, settings, problem);
  } catch (error) {
    bar.append(h('span', { role: 'alert' }, `Lineal cannot be reached: ${(error as Error).message}`));
  }
  // The picture begins with half of the width; GraphiQL would give it a quarter.
  if (localStorage.getItem('graphiql:docExplorerFlex') === null) localStorage.setItem('graphiql:docExplorerFlex', '1');
  const { data } = open ? await ask({ query: FIND }).catch(() => ({ data: undefined })) : { data: undefined };
  createRoot(document.getElementById('app')!).render(<Page found={found(data as Parameters<typeof found>[0])} open={open} />);
}

void start();
