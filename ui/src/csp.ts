// Lets the editor, which writes styles into its markup, live under a policy that forbids that.
//
// Styles that a script sets through an element are allowed, those in a text that is parsed are not. So a style in a
// parsed text is taken out before, and set through the element after. Elements <style> carry the nonce of the page.
// Nothing gets in this way that a script on this page could not do anyway, and scripts come from this origin alone.

const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? '';
const HELD = 'data-held-style';

/** A tag, in markup where text and values have no bare < and >, as the editor's have not. */
const TAG = /<[a-zA-Z][^<>]*>/g;

const held = (html: string): string =>
  html.includes('style=') ? html.replace(TAG, (tag) => tag.replace(/(\s)style=/g, `$1${HELD}=`)) : html;

function release(root: ParentNode): void {
  for (const element of root.querySelectorAll<HTMLElement>(`[${HELD}]`)) {
    element.style.cssText = element.getAttribute(HELD)!;
    element.removeAttribute(HELD);
  }
}

const innerHTML = Object.getOwnPropertyDescriptor(Element.prototype, 'innerHTML')!;
Object.defineProperty(Element.prototype, 'innerHTML', {
  ...innerHTML,
  set(this: Element, value: unknown) {
    const html = String(value ?? '');
    innerHTML.set!.call(this, held(html));
    if (html.includes('style=')) release(this);
  },
});

const insertAdjacentHTML = Element.prototype.insertAdjacentHTML;
Element.prototype.insertAdjacentHTML = function (where, html) {
  insertAdjacentHTML.call(this, where, held(String(html)));
  if (String(html).includes('style=')) release(this.parentElement ?? this);
};

const setAttribute = Element.prototype.setAttribute;
Element.prototype.setAttribute = function (name, value) {
  if (name.toLowerCase() === 'style' && 'style' in this) (this as HTMLElement).style.cssText = value;
  else setAttribute.call(this, name, value);
};

const createElement = document.createElement;
document.createElement = function (this: Document, name: string, options?: ElementCreationOptions) {
  const element = createElement.call(this, name, options);
  if (element instanceof HTMLStyleElement) element.nonce = nonce;
  return element;
} as typeof document.createElement;
