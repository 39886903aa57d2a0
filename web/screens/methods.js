// The ways in, to look at and to change.

function drawMethods(stage, { app, slots, lock, recovery, recoveryAt }) {
  const close = { choice: "close" };
  const add = (kind) => button("add-" + kind, "ways.add." + kind, () => stage.answer({ choice: "add", text: kind }));
  const closing = button("close", "common.close", () => stage.answer(close), "main");
  const has = (kind) => slots.some((slot) => slot.kind === kind);
  const kinds = [...(has("passphrase") ? [] : ["passphrase"]), "passkey", ...(lock === "none" ? [] : ["device"])];
  stage.draw(
    say("ways.title"),
    [paragraph("ways.lead"), facts(...appFacts(app)), ...(lock === "none" ? [element("p", { className: "note" }, say("ways.open"))] : [])],
    element("ul", { id: "slots", className: "plain" }, ...slots.map((slot, i) => wayOf(stage, slot, i))),
    element("div", { className: "row" }, ...kinds.map(add)),
    element("h2", {}, say("ways.recovery")),
    recovery ? paragraph("ways.phrase", { when: recoveryAt ? moment(recoveryAt) : say("log.unknown") }) : paragraph("ways.noPhrase"),
    element("div", { className: "row" }, button("recovery", recovery ? "ways.renew" : "ways.enable", () => stage.answer({ choice: "recovery" }))),
    buttons(closing),
  );
  stage.begin();
  stage.escape(() => stage.answer(close));
}

// The buttons of several ways have the same words, so each is described by its way.
function wayOf(stage, slot, i) {
  const named = nameOfWay(slot);
  const name = element("p", { id: `way-${i}` }, element("b", {}, say("ways.kind." + slot.kind)), ...(named ? [" ", theirs(named)] : []));
  const act = (id, key, choice) => {
    const node = button(`${id}-${i}`, key, () => stage.answer({ choice, slot: slot.id }), "small");
    node.setAttribute("aria-describedby", name.id);
    return node;
  };
  const acts = [
    ...(slot.kind === "passphrase" ? [act("change", "ways.change", "change")] : []),
    ...(slot.last ? [] : [act("remove", "ways.remove", "remove")]),
  ];
  return element(
    "li", {}, name,
    ...(slot.createdAt ? [quiet("ways.since", { when: moment(slot.createdAt) })] : []),
    ...(slot.last ? [quiet("ways.last")] : []),
    ...(acts.length > 0 ? [element("div", { className: "row" }, ...acts)] : []),
  );
}
