// A tour of ten steps along one gradient. A step shows a part of the page, for whatever token and head is selected.
const TOUR = [
  { part: "text", title: "A text is a row of tokens", say: ({ token }) => [
    `The model reads ${T} tokens. From each token and those before it, it predicts the next one. We follow `,
    ...named(token), ". Click another one at any time: the tour goes on with your choice."] },
  { part: "predictions", title: "A prediction has a loss", say: ({ token }) => [
    "After ", tokenElement(tokenLabel(token)), " the target is ", tokenElement(label(DATA.next.id[token])),
    `, with a probability of ${probability(DATA.next.probability[token])}. The loss is −ln of that, and its mean over
    all tokens is ${BACK.loss.toFixed(3)} nats. Training asks: which way should each number move to make this mean
    smaller? Gradients answer.`] },
  { part: "backward", array: "S", title: "Forward: scores", say: ({ token }) => [
    `Each token makes a query, a key and a value: its rows of Q, K and V. Row ${token} of S has a score for each token
    up to `, tokenElement(tokenLabel(token)), `: its query times that token's key, summed and divided by √${BACK.d_k}.
    The table below the maps shows the terms.`] },
  { part: "backward", array: "P", title: "Forward: weights", say: ({ token }, { P }) => {
    const most = strongest(P, token);
    return [`Softmax turns row ${token} of S into weights that sum to 1. The largest, ${percent(P.at(token, most))},
      goes to `, ...named(most), "."];
  } },
  { part: "backward", array: "O", title: "Forward: the output", say: ({ token }) => [
    "The output of ", tokenElement(tokenLabel(token)), ` is the average of the values, weighted by row ${token} of P. It
    leaves this head for the projection, the feed-forward network, the later blocks, and at last the loss.`] },
  { part: "gradient", title: "The gradient comes back", say: ({ token }) => [
    `Backward runs through the same layers in reverse. The map shows how strongly the loss at token ${token} alone
    depends on each earlier place. Training takes the mean over all tokens: the gradient of this mean arrives at our
    head as dO, the gradient of the head's output.`] },
  { part: "backward", array: "dV", title: "Backward: values", say: ({ token }) => [
    "The value of ", tokenElement(tokenLabel(token)), ` went to ${T - token} ${token < T - 1 ? "queries" : "query"},
    with the weights in column ${token} of P. A number that is used several times receives the sum of the gradients of
    all its uses: dV = Pᵀ dO.`] },
  { part: "backward", array: "dS", title: "Backward: scores", say: ({ token }, { dS }) => {
    if (token === 0) return ["Token 0 sees only itself. Its weight is always 1, so its score has gradient 0."];
    const row = Array.from({ length: token + 1 }, (_, j) => dS.at(token, j));
    const [less, more] = [row.indexOf(Math.min(...row)), row.indexOf(Math.max(...row))];
    return [`Row ${token} of dS sums to 0, since attention can only be moved from one token to another. A larger score
      for `, ...named(less), ` would lower the loss (${signed(row[less])}), one for `, ...named(more), ` would raise it
      (${signed(row[more])}).`];
  } },
  { part: "backward", array: "dQ", title: "Backward: queries", say: ({ token }) => [
    "The query of ", tokenElement(tokenLabel(token)), ` made row ${token} of S, so its gradient comes from row ${token}
    of dS: the sum of the keys, each times the gradient of its score.`] },
  { part: "backward", array: "dK", title: "Backward: keys", say: ({ token }) => [
    "The key of ", tokenElement(tokenLabel(token)), ` made column ${token} of S, so its gradient comes from column
    ${token} of dS: the sum of the queries, each times the gradient of its score. dQ, dK and dV are all that the head
    passes down. Now click any cell and see where it came from.`] },
];

function goTo(step) {
  const { array } = TOUR[step - 1] ?? {};
  const to = { step };
  if (array) {
    to.layer = headArrays(state.layer, state.head) ? state.layer : backwardLayers[0];
    to.array = ARRAYS.indexOf(array);
    to.column = strongestColumn({ ...state, ...to });
  }
  change(to);
  scrollToStop();
}

function scrollToStop() {
  const stop = TOUR[state.step - 1];
  if (!stop) return;
  const box = (id) => find(id).getBoundingClientRect();
  const free = find("dock").offsetHeight + 8; // what is above this is behind the tour, once the page is scrolled
  const to = box(stop.array ? "arrays" : stop.part).top - free;
  if (!stop.array) return scrollBy(0, to);
  // If the sum does not fit below the maps, their upper rows leave the window, up to the row of the chosen cell.
  const { canvas, place } = maps.made;
  const row = canvas.getBoundingClientRect().top + place.top + state.token * place.cell[1];
  scrollBy(0, Math.max(to, Math.min(box("terms").bottom + 8 - innerHeight, row - free)));
}

function showTour(state) {
  const stop = TOUR[state.step - 1];
  find("tour").hidden = !stop;
  document.documentElement.classList.toggle("touring", Boolean(stop));
  for (const section of document.querySelectorAll("section")) {
    section.classList.toggle("stop", section.id === stop?.part);
  }
  if (!stop) {
    document.documentElement.style.removeProperty("--dock");
    return;
  }
  find("tour-title").textContent = `${state.step} of ${TOUR.length}: ${stop.title}`;
  find("tour-text").replaceChildren(...stop.say(state, headArrays(state.layer, state.head) ??
    headArrays(backwardLayers[0], state.head)));
  find("tour-back").disabled = state.step === 1;
  find("tour-next").textContent = state.step === TOUR.length ? "Finish" : "Next";
  document.documentElement.style.setProperty("--dock", `${find("dock").offsetHeight + 8}px`);
}

function endTour() {
  goTo(0);
  find("tour-start").focus();
}

function fillTour() {
  find("tour-start").hidden = backwardLayers.length === 0; // a text too long for the numbers of any head
  find("tour-start").addEventListener("click", () => {
    goTo(1);
    find("tour-next").focus();
  });
  find("tour-back").addEventListener("click", () => goTo(state.step - 1));
  find("tour-next").addEventListener("click", () => (state.step < TOUR.length ? goTo(state.step + 1) : endTour()));
  find("tour-end").addEventListener("click", endTour);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.step) endTour();
  });
}
