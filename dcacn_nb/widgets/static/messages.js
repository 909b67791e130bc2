// @ts-check
// Between Python and a view: texts, messages by kind, numbers in bytes, questions. What the messages hold is written
// down in protocol.d.ts.

/** @import {AnyModel, Model, Received, Sent, Texts, Widgets} from "./protocol" */
/** @import {Cleanup} from "./dom.js" */

/**
 * Texts of the interface: t("pause"); t("epoch_n", {epoch: 3}) fills {epoch} in. Python sends them in the language
 * asked for (trait `words`).
 * @param {AnyModel} model
 * @returns {Texts}
 */
export function texts(model) {
  return (key, values = {}) => {
    const fill = (all, name) => {
      if (!(name in values)) console.error(`the text ${key} got no value for ${all}`);
      return String(values[name] ?? all);
    };
    return (model.get("words")[key] ?? key).replace(/\{(\w+)\}/g, fill);
  };
}

/**
 * Subscribe to a model for as long as a view lives.
 * @param {AnyModel} model
 * @param {Cleanup} stop
 * @param {string} name
 * @param {(...content: any[]) => void} callback
 */
export function on(model, stop, name, callback) {
  model.on(name, callback);
  stop.add(() => model.off(name, callback));
}

/**
 * Messages from Python by kind: listen(model, stop, {reset(content, buffers) {...}, append(content) {...}}).
 * @template {keyof Widgets} W
 * @param {Model<W>} model
 * @param {Cleanup} stop
 * @param {{[K in keyof Received<W>]: (content: Received<W>[K], buffers: DataView[]) => void}} handlers
 */
export function listen(model, stop, handlers) {
  on(model, stop, "msg:custom", (content, buffers) => handlers[content.kind]?.(content, buffers ?? []));
}

/**
 * A buffer from Python as a typed array (copied: its start need not be aligned).
 * @template T
 * @param {new (bytes: ArrayBuffer) => T} Type
 * @param {DataView} buffer
 * @returns {T}
 */
export const typed = (Type, buffer) =>
  new Type(/** @type {ArrayBuffer} */ (buffer.buffer).slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength));
export const f32 = buffer => typed(Float32Array, buffer);
export const u8 = buffer => typed(Uint8Array, buffer);

/** A PNG from Python as something a canvas can draw. */
export const bitmap = buffer => createImageBitmap(new Blob([buffer], {type: "image/png"}));

const together = (before, wish) => ({...before, ...wish});

/**
 * Ask Python, one question at a time and the newest wishes together, so that a drag never floods the kernel. Without an
 * answer the next question goes after five seconds.
 * @template {keyof Widgets} W
 * @param {Model<W>} model
 * @param {Cleanup} stop
 * @param {(before: any, wish: any) => any} merge wishes that have not been sent yet
 */
export function asker(model, stop, merge = together) {
  let waiting = 0;
  /** @type {Sent<W> | null} */
  let next = null;
  const send = () => {
    if (next !== null) model.send(next);
    next = null;
    waiting = window.setTimeout(answered, 5000);
  };
  const answered = () => {
    clearTimeout(waiting);
    waiting = 0;
    if (next !== null) send();
  };
  stop.add(() => clearTimeout(waiting));
  return {
    answered,
    /** Whether the answer on its way is out of date already. */
    get more() {
      return next !== null;
    },
    ask(wish) {
      next = merge(next ?? {kind: "show"}, wish);
      if (!waiting) send();
    },
    /** @param {Sent<W>} message */
    act(message) {
      if (next !== null) model.send(next);
      next = null;
      model.send(message);
    },
  };
}

/**
 * What a person chose in a widget, kept while the page lives: a view that is built again (another language, the end of
 * the run) continues with it.
 * @template T
 * @param {Map<string, T>} kept by key of the widget
 * @param {AnyModel} model
 * @param {() => T} first
 * @returns {T}
 */
export function remember(kept, model, first) {
  const key = model.get("key");
  if (!kept.has(key)) kept.set(key, first());
  return /** @type {T} */ (kept.get(key));
}
