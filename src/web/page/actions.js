// What can be done from the page; what ends something is asked about first.

import { act } from "./connection.js";
import { attribute, find, h, say } from "./dom.js";
import { count, endpoint } from "./words.js";

/** Set by the page: what is known. */
export const known = { model: null };

/** Says what went wrong, where nobody looks at a dialog. */
function complain(error) {
  const alert = find("#alert");
  attribute(alert, "class", "complaint");
  say(alert, error.message);
  setTimeout(() => {
    attribute(alert, "class", "hidden");
    say(alert, "");
  }, 8000);
}

/** Has the shared ports of localhost lead to this space, or, where they do, to nobody in particular. */
export const focus = (space) =>
  act("focus", { space: known.model.picture.focus === space ? null : space }).catch(complain);

export const unpublish = (space, port) => act("unpublish", { space, port }).catch(complain);

/** Ends a space, after a yes. */
export function stop(name) {
  const { picture } = known.model;
  const space = picture.spaces.find((space) => space.name === name);
  if (!space) return;
  const dialog = find("#stop");
  const programs = space.programs.map(({ program, pid, command }) =>
    h("li", {}, h("b", {}, `${program} (${pid}) `), h("code", {}, command.join(" "))),
  );
  if (space.more_programs) programs.push(h("li", {}, count(space.more_programs, "more program")));
  say(find("h2", dialog), `Stop ${name}?`);
  say(find(".what", dialog), programs.length ? "The space ends, and with it everything in it:" : "The space ends.");
  find(".doomed", dialog).replaceChildren(...programs);
  const places = picture.published.filter((place) => place.space === name);
  const besides = places.length && `No longer published: ${places.map((place) => endpoint(place.address, place.port)).join(", ")}.`;
  say(find(".besides", dialog), besides || "");
  say(find(".danger", dialog), `Stop ${name}`);
  ask(dialog, () => act("stop", { space: name }));
}

/** Offers a port of a space at the machine. */
export function publish(space) {
  const dialog = find("#publish");
  const form = find("form", dialog);
  form.reset();
  say(find("h2", dialog), `Publish a port of ${space.name}`);
  say(find(".face", dialog), `${space.face}, which is ${space.name}’s own`);
  const { inside, outside } = form.elements;
  const [first] = known.model.ports(space.name);
  inside.value = outside.value = first?.port ?? "";
  if (first) form.elements.protocol.value = first.protocol;
  inside.oninput = () => {
    outside.value = inside.value;
  };
  ask(dialog, () => {
    const { at, next, protocol } = form.elements;
    const ports = `${outside.value}${next.checked ? "+" : ""}:${inside.value}/${protocol.value}`;
    return act("publish", { space: space.name, ports, at: at.value || null });
  });
}

/** Opens a dialog; it is closed when what it is for is done. */
function ask(dialog, go) {
  const error = find(".error", dialog);
  const buttons = dialog.querySelectorAll("button");
  say(error, "");
  find("form", dialog).onsubmit = async (event) => {
    if (event.submitter?.value !== "go") return;
    event.preventDefault();
    buttons.forEach((button) => (button.disabled = true));
    try {
      await go();
      dialog.close();
    } catch (failure) {
      say(error, failure.message);
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  };
  dialog.showModal();
}
