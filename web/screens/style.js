// How the dialogs look. One constructable stylesheet: this origin has no
// style-src, and its pages have no markup of their own. Colours are those of WCAG
// 2.2 AA on both themes; what a colour says, a word or a border says, too.

const STYLE = `
  :root {
    color-scheme: light dark;
    --text: #1a1c21; --quiet: #50545e; --page: #ffffff; --field: #ffffff; --line: #767b87; --hair: #dcdfe6; --soft: #f2f4f8;
    --accent: #1750b8; --on-accent: #ffffff; --danger: #b3191f; --on-danger: #ffffff; --focus: #1558d6; --alarm: #fdeceb; --note: #fff6de;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --text: #f1f2f5; --quiet: #b9bec9; --page: #1d1f24; --field: #14161a; --line: #8d93a1; --hair: #3a3e48; --soft: #272a31;
      --accent: #9cc0ff; --on-accent: #0b1d3d; --danger: #ff8f88; --on-danger: #2b0506; --focus: #8ab4ff; --alarm: #401b1d; --note: #3a3113;
    }
  }
  * { box-sizing: border-box; }
  html, body { margin: 0; min-height: 100%; background: var(--page); color: var(--text); }
  html { scroll-padding: 1rem; }
  body { font: 1rem/1.5 system-ui, sans-serif; }
  main { max-width: 34rem; margin: 0 auto; padding: 0 1.25rem 1.5rem; overflow-wrap: anywhere; }
  header { display: flex; flex-wrap: wrap; align-items: center; gap: .125rem .5rem; margin: 0 -1.25rem 1.25rem; padding: .75rem 1.25rem; border-bottom: 1px solid var(--hair); font-size: .875rem; line-height: 1.35; }
  header::before { content: ""; width: .8rem; height: .8rem; border: .2rem solid var(--accent); border-radius: 50% 50% 50% 0; rotate: -45deg; }
  header b { font-weight: 650; }
  header bdi { flex: 0 1 auto; color: var(--quiet); }
  h1 { margin: 0 0 .75rem; font-size: 1.375rem; font-weight: 650; line-height: 1.25; text-wrap: balance; }
  h2 { margin: 1.5rem 0 .5rem; font-size: 1rem; font-weight: 650; line-height: 1.35; }
  p { margin: 0 0 .75rem; }
  [tabindex="-1"]:focus { outline: none; }
  blockquote { margin: 0 0 1rem; padding: .125rem 0 .125rem .75rem; border-inline-start: .25rem solid var(--line); }
  blockquote p { margin: 0; }
  dl { margin: 0 0 1rem; padding: .75rem 1rem; background: var(--soft); border-radius: .625rem; }
  dt { color: var(--quiet); font-size: .875rem; }
  dd { margin: 0 0 .5rem; font-weight: 600; }
  dd:last-child { margin-bottom: 0; }
  label { display: block; margin-bottom: .25rem; font-weight: 600; }
  label strong { font-family: ui-monospace, monospace; font-weight: 700; }
  input, textarea { display: block; width: 100%; min-height: 2.75rem; padding: .5rem .75rem; font: inherit; color: inherit; background: var(--field); border: 1px solid var(--line); border-radius: .5rem; }
  textarea { min-height: 6rem; resize: vertical; }
  input[type=file] { padding: .375rem; }
  input::file-selector-button { min-height: 2.25rem; margin-inline-end: .75rem; padding: .25rem .75rem; font: inherit; font-weight: 600; color: var(--text); background: var(--soft); border: 1px solid var(--line); border-radius: .375rem; }
  [aria-invalid=true] { border: 2px solid var(--danger); }
  progress { display: block; width: 100%; height: .5rem; margin: 1rem 0 .25rem; accent-color: var(--accent); }
  progress.danger { accent-color: var(--danger); }
  .field { margin: 0 0 1rem; }
  .beside { display: flex; gap: .5rem; }
  .beside input { flex: 1; min-width: 0; }
  .field > p { margin: .25rem 0 0; }
  .quiet { color: var(--quiet); font-size: .875rem; }
  .problem { padding: .625rem .75rem; background: var(--alarm); border-inline-start: .25rem solid var(--danger); border-radius: .25rem; }
  .note { padding: .625rem .75rem; background: var(--note); border-inline-start: .25rem solid var(--line); border-radius: .25rem; }
  :is(.problem, .note, .status):empty { margin: 0; padding: 0; border: 0; }
  .buttons { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.25rem; }
  button { flex: 1 1 auto; min-height: 2.75rem; padding: .5rem 1rem; font: inherit; font-weight: 600; color: var(--text); background: transparent; border: 1px solid var(--line); border-radius: .5rem; overflow-wrap: break-word; cursor: pointer; }
  button:hover:enabled { background: var(--soft); }
  button.main:enabled { color: var(--on-accent); background: var(--accent); border-color: var(--accent); }
  button.danger:enabled { color: var(--on-danger); background: var(--danger); border-color: var(--danger); }
  button.small { flex: none; min-width: 2.75rem; padding: .375rem .75rem; font-weight: 500; }
  button.link { flex: none; padding: .5rem 0; color: var(--accent); border: 0; border-radius: .25rem; font-weight: 500; text-align: start; text-decoration: underline; text-underline-offset: .2em; }
  button.link:hover:enabled { background: transparent; text-decoration-thickness: 2px; }
  button:disabled { color: var(--quiet); border: 1px dashed var(--line); cursor: not-allowed; }
  button.link:disabled { border-color: transparent; }
  .row { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: .5rem; }
  .words { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .5rem; margin: 0 0 1rem; padding: 0; list-style: none; counter-reset: word; }
  .words li { display: flex; align-items: baseline; gap: .5rem; min-height: 2.75rem; padding: .5rem .75rem; background: var(--soft); border-radius: .5rem; font: 600 1.0625rem/1.6 ui-monospace, monospace; counter-increment: word; }
  .words li::before { content: counter(word) "."; min-width: 1.6em; color: var(--quiet); font: .875rem system-ui, sans-serif; text-align: end; }
  .plain { margin: 0; padding: 0; list-style: none; }
  .plain > li { padding: .75rem 0; border-top: 1px solid var(--hair); }
  .plain > li > p { margin: 0; }
  .refused { padding-inline-start: .75rem !important; border-inline-start: .25rem solid var(--danger); }
  .badge { padding: 0 .4rem; font-size: .8125rem; font-weight: 650; color: var(--danger); border: 1px solid currentColor; border-radius: .25rem; }
  .seldom { margin-top: 1rem; }
  :focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
  @media (prefers-reduced-motion: no-preference) { button { transition: background-color .15s; } }
  @media (forced-colors: active) {
    button:disabled { color: GrayText; border-color: GrayText; }
    header::before { border-color: CanvasText; }
    dl, .words li { border: 1px solid CanvasText; }
  }
`;

// Gives the page its style, once.
function dress() {
  if (document.adoptedStyleSheets.length > 0) return;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets = [sheet];
}
