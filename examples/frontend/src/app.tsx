// Models, their versions, two of them side by side, and where one came from.

import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import './app.css';
import { type Answer, useAnswer } from './client.ts';
import { Picture } from './picture.tsx';
import { COMPARE, LINEAGE, MODEL, MODELS } from './queries.ts';

function Told<T>({ answer, children }: { answer: Answer<T> | undefined; children: (data: T) => React.ReactNode }) {
  if (!answer) return <p>Loading …</p>;
  return (
    <>
      {answer.errors?.map(({ message }) => <p key={message} className="warning">{message}</p>)}
      {answer.data && children(answer.data)}
    </>
  );
}

const link = (...parts: string[]) => `#/${parts.map(encodeURIComponent).join('/')}`;

function Models() {
  const [after, setAfter] = useState<string | null>(null);
  const answer = useAnswer(MODELS, { first: 25, after });
  return (
    <Told answer={answer}>
      {({ models }) => (
        <>
          <h1>{models?.totalCount} models</h1>
          <table>
            <thead><tr><th>Name</th><th>Versions</th><th>Description</th></tr></thead>
            <tbody>
              {models?.nodes.map(({ id, name, description, versions }) => (
                <tr key={id}><td><a href={link('model', id)}>{name}</a></td><td>{versions?.totalCount}</td><td>{description}</td></tr>
              ))}
            </tbody>
          </table>
          {models?.pageInfo.hasNextPage && <button onClick={() => setAfter(models.pageInfo.endCursor ?? null)}>Next</button>}
        </>
      )}
    </Told>
  );
}

function Model({ id }: { id: string }) {
  const [chosen, setChosen] = useState<string[]>([]);
  const answer = useAnswer(MODEL, { address: id });
  const toggle = (version: string) => setChosen(chosen.includes(version) ? chosen.filter((each) => each !== version) : [...chosen, version].slice(-2));
  return (
    <Told answer={answer}>
      {({ model }) => (
        <>
          <h1>{model?.name}</h1>
          <p>{model?.description}</p>
          <table>
            <thead><tr><th>Compare</th><th>Version</th><th>State</th><th>Registered</th><th>Licence</th><th></th></tr></thead>
            <tbody>
              {model?.versions?.nodes.map(({ id: version, number, state, createdAt, license }) => (
                <tr key={version}>
                  <td><input type="checkbox" aria-label={`Compare version ${number}`} checked={chosen.includes(version)} onChange={() => toggle(version)} /></td>
                  <td>{number}</td><td>{state}</td><td>{new Date(createdAt).toISOString().slice(0, 10)}</td><td>{license}</td>
                  <td><a href={link('lineage', version)}>Lineage</a></td>
                </tr>
              ))}
            </tbody>
          </table>
          {chosen.length === 2 && <a href={link('compare', ...chosen)}>Compare the two</a>}
        </>
      )}
    </Told>
  );
}

function Compare({ versions }: { versions: string[] }) {
  const answer = useAnswer(COMPARE, { versions });
  return (
    <Told answer={answer}>
      {({ compareVersions: compared }) => (
        <>
          <h1>Side by side</h1>
          <table>
            <thead><tr><th>Parameter</th>{compared?.versions?.map(({ id, address }) => <th key={id}>{address}</th>)}</tr></thead>
            <tbody>
              {compared?.parameters.map(({ name, values, same }) => (
                <tr key={name}><td>{same ? name : <strong>{name}</strong>}</td>{values.map((value, at) => <td key={at}>{value ?? '–'}</td>)}</tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </Told>
  );
}

function Lineage({ of }: { of: string }) {
  const answer = useAnswer(LINEAGE, { of: [of], direction: 'UPSTREAM' });
  return (
    <Told answer={answer}>
      {({ lineage }) => <><h1>Where it came from</h1>{lineage && <Picture lineage={lineage} />}</>}
    </Told>
  );
}

function App() {
  const [path, setPath] = useState(location.hash);
  useEffect(() => {
    const follow = () => setPath(location.hash);
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  const [page, ...rest] = path.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  return (
    <>
      <nav><a href="#/">All models</a></nav>
      {page === 'model' && rest[0] ? <Model id={rest[0]} />
        : page === 'compare' ? <Compare versions={rest} />
        : page === 'lineage' && rest[0] ? <Lineage of={rest[0]} />
        : <Models />}
    </>
  );
}

createRoot(document.getElementById('app')!).render(<StrictMode><App /></StrictMode>);
