// The audit log, as people read it.

function drawActivity(stage, { app, entries, older, newest, total }) {
  const close = { choice: "close" };
  const list = element("div", { id: "entries" }, ...daysOf(entries).flatMap(([day, events]) => [
    element("h2", {}, day),
    element("ul", { className: "plain" }, ...events.map(lineOf)),
  ]));
  const move = (id, key, choice, there) => Object.assign(button(id, key, () => stage.answer({ choice })), { disabled: !there });
  const closing = button("close", "common.close", () => stage.answer(close), "main");
  stage.draw(
    say("log.title"),
    [paragraph("log.lead", { n: total, app: theirs(app.origin, 300) }), ...(entries.length === 0 ? [paragraph("log.empty")] : [])],
    list,
    buttons(move("newest", "log.newest", "newest", !newest), move("older", "log.older", "older", older), button("export", "log.export", () => stage.answer({ choice: "export" })), closing),
  );
  // Whoever pages through the log begins at its top, whichever buttons there are.
  stage.begin();
  stage.escape(() => stage.answer(close));
}

function daysOf(entries) {
  const days = new Map();
  for (const entry of entries) {
    const day = dayOf(entry.time);
    if (!days.has(day)) days.set(day, []);
    days.get(day).push(entry);
  }
  return [...days];
}

function lineOf(entry) {
  const refused = entry.outcome !== "ok";
  const origin = element("p", { className: "quiet" }, timeOf(entry.time), " - ", theirs(entry.origin, 300));
  const key = entry.kid ? [" - ", ...rich("log.key", { key: theirs(entry.label || shortKid(entry.kid)) })] : [];
  origin.append(...key);
  return element("li", { className: refused ? "refused" : "" }, refused ? refusalOf(entry) : element("p", {}, ...deedOf(entry)), origin);
}

// The values of a sentence: the names and texts that the app chose are set apart.
function valuesOf({ purpose, details = {} }) {
  const of = (name) => theirs(details[name] || say("log.unknown"));
  const use = purpose || details.purpose;
  return {
    aud: of("aud"), context: of("context"),
    purpose: speakable("fact.purpose." + use) ? say("fact.purpose." + use) : say("log.unknown"),
    kind: speakable("ways.kind." + details.kind) ? say("ways.kind." + details.kind) : say("log.way"),
  };
}

function deedOf(entry) {
  const key = "log.did." + entry.method;
  return speakable(key) ? rich(key, valuesOf(entry)) : rich("log.other", { method: theirs(entry.method) });
}

function refusalOf(entry) {
  const wanted = "log.wanted." + entry.method;
  const sentence = speakable(wanted) ? rich(wanted, valuesOf(entry)) : rich("log.wantedOther", { method: theirs(entry.method) });
  const why = speakable("log.outcome." + entry.outcome) ? say("log.outcome." + entry.outcome) : say("log.failed", { code: printable(entry.outcome, 40) });
  const n = Number(entry.details?.count ?? 1);
  const times = n > 1 ? " " + say("log.times", { n }) : "";
  return element("p", {}, element("span", { className: "badge" }, say("log.refused")), " ", ...sentence, " ", why, times);
}
