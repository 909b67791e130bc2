// @ts-check
// Whether the kernel behind a widget is still there. JupyterLab's widget manager knows its kernel; other pages do not
// say, and then it counts as there.
import {on} from "./messages.js";

/** @import {Cleanup} from "./dom.js" */
/** @import {AnyModel} from "./protocol" */
/** @typedef {"here" | "silent" | "gone"} KernelState silent: the connection is down and may come back */

const ENDED = new Set(["restarting", "autorestarting", "dead", "terminating"]);
const PATIENCE = 3; // seconds without a connection before this is said

/**
 * Call `changed` when the kernel goes silent, answers again, or is gone for good: its models have no counterpart in a
 * new kernel.
 * @param {AnyModel} model
 * @param {Cleanup} stop
 * @param {(state: KernelState) => void} changed
 */
export function watchKernel(model, stop, changed) {
  const manager = model.widget_manager;
  const kernel = manager?.isDisposed ? null : manager?.kernel;
  /** @type {KernelState} */
  let state = "here";
  let quiet = 0; // seconds
  const become = next => {
    if (state === next || state === "gone") return;
    state = next;
    changed(state);
  };
  on(model, stop, "comm_live_update", () => become("gone")); // the manager was cut off from its kernel
  if (!kernel) return;
  const check = () => {
    if (manager.isDisposed || manager.kernel !== kernel || kernel.isDisposed || ENDED.has(kernel.status)) {
      become("gone");
    }
  };
  const look = () => {
    check();
    quiet = kernel.connectionStatus === "connected" ? 0 : quiet + 1;
    become(quiet < PATIENCE ? "here" : "silent");
  };
  kernel.statusChanged?.connect(check);
  stop.add(() => kernel.statusChanged?.disconnect(check));
  const timer = setInterval(look, 1000);
  stop.add(() => clearInterval(timer));
}
