// What Python and a view send each other, widget by widget. Only the type checker reads this file.

export type Texts = (key: string, values?: Record<string, unknown>) => string;

/** A kernel as far as JupyterLab's widget manager shows it. */
interface Kernel {
  status: string;
  connectionStatus: string;
  isDisposed: boolean;
  statusChanged?: {connect(listener: () => void): void; disconnect(listener: () => void): void};
}

interface WidgetManager {
  kernel?: Kernel | null;
  isDisposed?: boolean;
  get_model(id: string): Promise<AnyModel>;
}

/** A widget's model as anywidget hands it over, with traits T and messages S to Python. */
interface BaseModel<T, S> {
  get<K extends keyof T>(name: K): T[K];
  set<K extends keyof T>(name: K, value: T[K]): void;
  save_changes(): void;
  send(content: S): void;
  on(name: string, callback: (...content: any[]) => void): void;
  off(name: string, callback: (...content: any[]) => void): void;
  widget_manager: WidgetManager;
}

export interface CommonTraits {
  lang: "en" | "zh";
  words: Record<string, string>;
  summary: string;
  key: string;
  /** A line above the widget, when no process holds its run any more. */
  notice: string;
  /** The picture in the notebook shows the end of the run. */
  settled: boolean;
}

/** A view asks for what it has missed; `holds`: the page finds empty places for the widget, as JupyterLab's does. */
export interface Hello {
  kind: "hello";
  holds: boolean;
}

export type Traits<W extends keyof Widgets> = CommonTraits & Widgets[W]["traits"];
export type Received<W extends keyof Widgets> = Widgets[W]["received"];
export type Sent<W extends keyof Widgets> = Hello | Widgets[W]["sent"];
export type Model<W extends keyof Widgets> = BaseModel<Traits<W>, Sent<W>>;
export type AnyModel = BaseModel<CommonTraits, any>;

/** What a render function gets. */
export interface View<W extends keyof Widgets> {
  model: Model<W>;
  root: HTMLElement;
  t: Texts;
  stop: import("./dom.js").Cleanup;
  /** Lives as long as `root`, from one language to the next. */
  kept: Record<string, any>;
}

export interface Widgets {
  attention: {
    traits: {colours: DataView};
    received: {run: AttentionRun; frame: AttentionFrame};
    sent: {kind: "look"; block: string; epoch: number | null};
  };
  clusters: {
    traits: {per_cluster: number; longest: number};
    received: {
      state: ClusterState;
      members: {view: string; group: number; start: number; count: number; size: number; page: number};
      tiles: Tiles;
      csv: {view: string; file: string};
      found: ClustersFound;
    };
    sent: {kind: string; view?: string; [detail: string]: unknown};
  };
  crops: {
    traits: {};
    received: {empty: {}; changed: {}; image: CropImage; crops: CropState};
    sent: CropWish | {kind: "reset"} | {kind: "look"};
  };
  curves: {
    traits: {};
    received: {
      run: {run: number; label: string; terms: string[]; begun: boolean; head: number | null};
      rows: {run: number; part: "steps" | "scores"; restart: boolean; kept: number};
    };
    sent: never;
  };
  dashboard: {
    traits: {state: RunState; parts: Record<string, string>; name: string; tab: string};
    received: {
      saved: {path: string; name: string; format: "png" | "svg" | "pdf"; token: string};
      failed: {message: string; token: string};
    };
    sent: {kind: "start" | "pause" | "resume" | "stop"} | {kind: "save"; part: string; format: string; token: string};
  };
  health: {
    traits: {};
    received: {
      reset: HealthState;
      append: {halve: boolean; at: number; epoch: number; found: Finding[]};
      snapshots: {epochs: number[]};
      similarity: {epoch: number; k: number; pair: [number, number]; found: Finding[]; names: Names};
    };
    sent: {kind: "similarity"; epoch: number};
  };
  loss_lab: {
    traits: {};
    received: {points: PointsPage; assignments: AssignmentsPage};
    sent: {kind: "show" | "downhill" | "reset" | "keep"; [setting: string]: unknown};
  };
  map: {
    traits: {method: Method; color_by: "cluster" | "last" | "class" | "confidence"; selection: number[]};
    received: {
      start: {n: number; classes: string[]; asked: number | null};
      sheet: SheetLayout;
      tiles: Tiles;
      map: MapFrame;
      state: MapState;
    };
    sent: {kind: "look"; images: number[]};
  };
}

/** Names of clusters by their number. */
export type Names = Record<string, string>;
/** [severity, sentence] */
export type Finding = ["bad" | "warning" | "note" | "good", string];
export type Method = "tsne" | "pca";
/** Images in one PNG, row by row, each in a tile of the same size. */
export interface SheetLayout {
  n: number;
  columns: number;
  width: number;
  height: number;
}

export interface AttentionRun {
  side: 0 | 1;
  token: number;
  attention: boolean | "channel" | "spatial" | null;
  block: string | null;
  note: string | null;
  comparing: boolean;
  code: string;
  keep: number[];
  images: (SheetLayout & {indices: number[]}) | null;
}

export interface AttentionFrame {
  side: 0 | 1;
  token: number;
  number: number;
  epoch: number;
  indices: number[];
  /** [kind, block, height, width] of each part, in the order of the bytes */
  parts: [string, string, number, number][];
  block: string | null;
  note: string | null;
  keep: number[];
}

export interface ClusterGroup {
  id: number;
  parts: number[];
  name: string;
  size: number;
  confidence: number | null;
  moved: number;
  /** how many surest and most doubtful images follow in the bytes */
  ends: [number, number];
}

export interface ClusterState {
  token: number;
  k: number;
  n: number;
  groups: ClusterGroup[];
  undo: number;
  redo: number;
  folder: boolean;
  /** whether images can be looked for by their features, and whether they are files */
  features: boolean;
  files: boolean;
  damaged: boolean;
  trouble: string;
  said: string;
  /** the view that asked, and the group that came of it */
  by: string;
  made: number | null;
}

/** Rows of images found by their features; groups: two that could be merged. */
export interface ClustersFound {
  view: string;
  what: "similar" | "copies" | "outliers" | "merges";
  title: string;
  rows: {label: string; count: number; groups: number[]}[];
}

export interface Tiles {
  token: number;
  images: number[];
  files: string[] | null;
  layout: SheetLayout;
}

export interface CropWish {
  kind: "show";
  image?: number;
  seed?: number;
  step?: number;
  knobs?: Record<string, number>;
}

export interface CropImage {
  width: number;
  height: number;
  shown: [number, number];
}

export interface Crop {
  global: boolean;
  size: number;
  /** top, left, height, width */
  box: [number, number, number, number];
  share: string;
  caption: string;
  detail: string;
}

export interface Knob {
  name: string;
  knob: string;
  end: "smallest" | "largest" | "";
  idle: boolean;
  low: number;
  high: number;
  step: number;
}

export interface CropState {
  image: number;
  n_images: number;
  seed: number;
  step: number;
  steps: string[];
  knobs: Record<string, number>;
  problem: string;
  groups: {name: string; knobs: Knob[]}[];
  columns: number[];
  crops: Crop[];
}

export interface RunState {
  status: string;
  done: number;
  planned: number;
  epoch: number;
  epochs: number;
  left: number | null;
  controls: boolean;
  note: string;
}

export interface HealthState {
  k: number;
  figures: string[];
  epochs: number[];
  found: Finding[][];
  names: Names;
  snapshots: number[];
  emptyBelow: number;
  largeAbove: number;
}

export interface LabPage {
  kind: "points" | "assignments";
  page: "points" | "assignments";
  problem: string;
  temperature: number;
}

export interface PointsPage extends LabPage {
  angles: number[];
  coupled: number;
  decoupled: number;
  multiplier: number[];
  coupled_slope: number[];
  decoupled_slope: number[];
}

export interface AssignmentsPage extends LabPage {
  /** view, image, cluster */
  p: number[][][];
  moves: number[][][];
  axis: "sample" | "cluster";
  decoupled: boolean;
  weighed: boolean;
  balance: [number, number];
  sample_coupled: number;
  sample_decoupled: number;
  cluster_coupled: number;
  cluster_decoupled: number;
  example: string;
  large: {n: number; k: number; figures: Record<string, number[]>};
}

export interface MapFrame {
  id: number;
  epoch: number | null; // null: no snapshot, but a whole set
  method: Method;
  scale: number;
  explained: number | null;
  keep: number[];
}

export interface MapState {
  waiting: number;
  making: {method: Method; epoch: number | null} | null;
  dropped: number;
  problem: string;
  names: Names;
}
