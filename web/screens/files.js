// Files go to the user's disk and come from it; what they hold is the worker's business.

const MIB = 1 << 20;
const DOWNLOAD_MS = 30_000; // how long a browser may take to begin a download

// No page learns whether the browser saved a file, so the user says so. Once the
// browser was asked to, the file may be on its way to the disk: there is no way back.
function drawSaveFile(stage, { what, name, createdAt, keys: n, damaged = 0 }, file) {
  const url = URL.createObjectURL(new Blob([file], { type: "application/octet-stream" }));
  stage.atEnd(() => setTimeout(() => URL.revokeObjectURL(url), DOWNLOAD_MS));
  const download = () => {
    element("a", { href: url, download: name }).click();
    if (!save.isConnected) return;
    cancel.remove();
    stage.escape(keep);
    save.replaceWith(saved);
    saved.before(again);
    saved.focus();
    stage.status(say("file.asked"));
  };
  const save = button("save", "file.save", download, "main");
  const again = button("again", "file.again", download);
  const keep = () => stage.answer({ choice: "saved" });
  const saved = button("saved", "file.have", keep, "main");
  const cancel = stage.cancelButton();
  stage.draw(
    say("file.title." + what),
    [
      paragraph("file.lead." + what),
      facts(["fact.file", name], ["fact.saved", moment(createdAt)], ["fact.keys", what === "backup" ? say("fact.count", { n }) : undefined]),
      ...(damaged > 0 ? [warning("file.damaged", { n: damaged })] : []),
      quiet("file.where"),
      quiet("file.missing"),
    ],
    buttons(cancel, save),
  );
  stage.begin(save);
}

function drawPickFile(stage, { app, maxBytes, problem }) {
  const picked = field("file", [say("file.field")], { type: "file", oninput: () => (next.disabled = picked.input.files.length === 0) });
  const next = button("next", "common.next", () => send(stage, picked.input, maxBytes), "main");
  next.disabled = true;
  stage.draw(say("file.pick"), [paragraph("file.pickLead"), facts(...appFacts(app))], picked.node, buttons(stage.cancelButton(), next));
  stage.begin(picked.input);
  if (problem) stage.problem(problemText(problem), picked.input);
}

async function send(stage, input, maxBytes) {
  const [file] = input.files;
  if (file === undefined) return;
  if (file.size > maxBytes) return stage.problem(say("problem.file-too-large", { n: Math.floor(maxBytes / MIB) }), input);
  try {
    stage.answer({ choice: "file" }, await file.arrayBuffer());
  } catch {
    stage.problem(say("file.unread"), input);
  }
}
