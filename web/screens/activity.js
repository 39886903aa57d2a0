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
  if (entry.kid && !refused) origin.append(" - ", ...rich("log.key", { key: keyOf(entry) }));
  return element("li", { className: refused ? "refused" : "" }, refused ? refusalOf(entry) : element("p", {}, ...deedOf(entry)), origin);
}

const keyOf = ({ kid, label }) => theirs(label || shortKid(kid));

// How many wrong secrets were tried, if that is told.
const triesOf = ({ details }) => Number(details?.tries ?? 0);

// The values of a sentence: the names and texts that the app chose are set apart.
function valuesOf({ purpose, details = {} }) {
  const of = (name) => theirs(details[name] || say("log.unknown"));
  const use = purpose || details.purpose;
  return {
    aud: of("aud"), context: of("context"), relay: of("relay"),
    purpose: speakable("fact.purpose." + use) ? say("fact.purpose." + use) : say("log.unknown"),
    kind: speakable("ways.kind." + details.kind) ? say("ways.kind." + details.kind) : say("log.way"),
  };
}

function deedOf(entry) {
  const key = "log.did." + entry.method;
  const exact = key + "." + entry.details?.kind;
  const n = triesOf(entry);
  return [
    ...(speakable(key) ? rich(speakable(exact) ? exact : key, valuesOf(entry)) : rich("log.other", { method: theirs(entry.method) })),
    ...(n > 0 ? [" ", say("log.after", { n })] : []),
  ];
}

function refusalOf(entry) {
  const wanted = "log.wanted." + entry.method;
  const sentence = speakable(wanted) ? rich(wanted, valuesOf(entry)) : rich("log.wantedOther", { method: theirs(entry.method) });
  const about = entry.kid ? [" ", ...rich("log.about", { key: keyOf(entry) })] : [];
  const n = Number(entry.details?.count ?? 1);
  const times = n > 1 ? " " + say("log.times", { n }) : "";
  return element("p", {}, element("span", { className: "badge" }, say("log.refused")), " ", ...sentence, ...about, " ", whyNot(entry), times);
}

function whyNot(entry) {
  const { outcome } = entry;
  const n = triesOf(entry);
  if (outcome === "denied" && n > 0) return say("log.tried", { n });
  return speakable("log.outcome." + outcome) ? say("log.outcome." + outcome) : say("log.failed", { code: printable(outcome, 40) });
}
