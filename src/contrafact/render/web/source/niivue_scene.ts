// Volumes by NiiVue, in a separate bundle that is loaded only for volumes. The colours are those of the viewer.

import { DRAG_MODE, MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";

import { AGAINST, FOR } from "./pixels";

export type Sight = "planes" | "axial" | "coronal" | "sagittal" | "render";
/** Position of the crosshair: voxel of the file, RAS+ mm, index along each axis; and the values there. */
export interface Place { voxel: number[]; mm: number[]; ras: number[]; image: number; map: number | null }
/** level: the least size that is shown; without one, that of the strongest `share` of the voxels. */
export interface Overlay { scale: number; opacity: number; share: number; level?: number }

const GAP = 8; // pixels between planes
const SAMPLE = 1 << 20; // voxels used to estimate the threshold of the strongest voxels

const LETTERS: Record<number, string> = { [SLICE_TYPE.AXIAL]: "RLAP", [SLICE_TYPE.CORONAL]: "RLSI", [SLICE_TYPE.SAGITTAL]: "APSI" }; // left, right, top, bottom

const SIGHTS = {
  planes: SLICE_TYPE.MULTIPLANAR, axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL, render: SLICE_TYPE.RENDER,
};

export class NiivueScene {
  private base: NVImage | null = null;
  private over: NVImage | null = null;
  private raw = new Float32Array();
  private sorted = new Float32Array();

  private constructor(private readonly scene: Niivue, private readonly moved: (place: Place) => void) {}

  static async on(canvas: HTMLCanvasElement, moved: (place: Place) => void): Promise<NiivueScene> {
    const scene = new Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.8], crosshairWidth: 0.4, crosshairWidthUnit: "percent",
      clipPlaneColor: [0, 0, 0, 0], fontColor: [0.9, 0.9, 0.9, 1], show3Dcrosshair: true,
      isRadiologicalConvention: true, sagittalNoseLeft: true, isColorbar: false, loadingText: "", logLevel: "error",
      dragAndDropEnabled: false, dragMode: DRAG_MODE.pan, multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID, isOrientationTextVisible: false, multiplanarPadPixels: GAP, crosshairGap: 2, viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
    });
    await scene.attachToCanvas(canvas, false);
    canvas.tabIndex = -1; // the stage around it receives the keys
    for (const [name, [r, g, b]] of [["for", FOR], ["against", AGAINST]] as const)
      scene.addColormap(name, { R: [r, r], G: [g, g], B: [b, b], A: [0, 255], I: [0, 255] });
    const made = new NiivueScene(scene, moved);
    scene.onLocationChange = () => made.tell();
    return made;
  }

  /** Voxels along right, front and head. */
  get size(): number[] { return this.base!.dimsRAS!.slice(1, 4); }

  async show(image: ArrayBuffer, map: ArrayBuffer | null, window: { low: number; high: number }, turned = false): Promise<void> {
    const base = await read(image, "image", { colormap: "gray", cal_min: window.low, cal_max: window.high });
    const over = map && await read(map, "map", { colormap: turned ? "against" : "for", colormapNegative: turned ? "for" : "against", opacity: 0 });
    const place = this.base && [...this.scene.scene.crosshairPos]; // no await from here on, so that the scene always has a volume
    for (const volume of [this.over, this.base]) if (volume) this.scene.removeVolume(volume);
    this.base = base;
    this.scene.addVolume(this.base);
    this.over = over;
    this.raw = new Float32Array();
    if (this.over) {
      this.raw = Float32Array.from(this.over.img as Float32Array);
      const every = Math.ceil(this.raw.length / SAMPLE);
      this.sorted = (every > 1 ? this.raw.filter((_, i) => i % every === 0) : this.raw).map(Math.abs).sort();
      this.scene.addVolume(this.over);
      this.over.modulationImage = 1; // the magnitude sets the opacity, as everywhere in the viewer
      this.over.modulateAlpha = 1;
    }
    if (!place) return this.telling();
    this.scene.scene.crosshairPos = place as never;
    this.tell();
  }

  /** Set scale and opacity of the map, and show only its strongest voxels. Return the threshold. */
  overlay({ scale, opacity, share, level: given }: Overlay): number {
    if (!this.over) return 0;
    const count = this.sorted.length, level = share >= 1 ? 0 : given ?? this.sorted[Math.min(count - 1, Math.floor((1 - share) * count))];
    const shown = this.over.img as Float32Array;
    this.raw.forEach((value, i) => { shown[i] = Math.abs(value) >= level ? value : 0; });
    this.over.cal_min = 0;
    this.over.cal_max = scale;
    this.over.opacity = opacity;
    this.scene.updateGLVolume();
    return level;
  }

  window(low: number, high: number): void {
    if (!this.base) return;
    this.base.cal_min = low;
    this.base.cal_max = high;
    this.scene.updateGLVolume();
  }

  sight(sight: Sight): void { this.scene.setSliceType(SIGHTS[sight]); }

  turn(azimuth: number, elevation: number, cut: number): void {
    this.scene.setRenderAzimuthElevation(azimuth, elevation);
    this.scene.setClipPlane(cut > 0 ? [0.9 - 1.8 * cut, azimuth, elevation] : [2, 0, 0]);
  }

  /** Move the crosshair to a voxel, counted along right, front and head. */
  to(ras: number[]): void {
    this.scene.scene.crosshairPos = this.scene.vox2frac(ras as never);
    this.scene.drawScene();
    this.tell();
  }

  /** Millimetres in a pixel of the page, on the first plane that is shown; null for the rendering alone. */
  get scale(): number | null {
    const plane = this.scene.screenSlices.find(slice => slice.axCorSag !== SLICE_TYPE.RENDER && slice.fovMM.length > 1);
    return plane ? Math.abs(plane.fovMM[0] / plane.leftTopWidthHeight[2]) * (this.scene.uiData.dpr ?? 1) : null;
  }

  /** The planes that are shown: letters of the sides, and left, top, width and height in pixels of the page. */
  get planes(): { letters: string; box: number[] }[] {
    const ratio = this.scene.uiData.dpr ?? 1;
    return this.scene.screenSlices.filter(slice => slice.axCorSag in LETTERS && slice.fovMM.length > 1)
      .map(slice => ({ letters: LETTERS[slice.axCorSag], box: slice.leftTopWidthHeight.map(pixels => pixels / ratio) }));
  }

  /** Go to the slice with the most evidence for the target (or, without any, of either kind) of each plane. */
  private telling(): void {
    if (!this.base || !this.raw.length) return this.strongest();
    const [nx, ny, nz] = this.over!.hdr!.dims.slice(1, 4), sums = [nx, ny, nz].map(count => new Float64Array(count));
    const some = this.raw.some(value => value > 0);
    this.raw.forEach((value, i) => {
      const weight = some ? Math.max(0, value) : Math.abs(value);
      if (weight) [i % nx, Math.floor(i / nx) % ny, Math.floor(i / nx / ny)].forEach((at, axis) => { sums[axis][at] += weight; });
    });
    this.go(this.over!, sums.map(list => list.indexOf(Math.max(...list))));
  }

  strongest(): void {
    if (!this.base) return;
    const [nx, ny, nz] = (this.over ?? this.base).hdr!.dims.slice(1, 4);
    let at = Math.floor(nz / 2) * nx * ny + Math.floor(ny / 2) * nx + Math.floor(nx / 2);
    if (this.raw.length) at = this.raw.reduce((best, value, i) => Math.abs(value) > Math.abs(this.raw[best]) ? i : best, 0);
    this.go(this.over ?? this.base, [at % nx, Math.floor(at / nx) % ny, Math.floor(at / nx / ny)]);
  }

  /** Move the crosshair to a voxel of a volume, as numbered in its file. */
  private go(volume: NVImage, voxel: number[]): void {
    const { affine } = volume.hdr!;
    const mm = [0, 1, 2].map(r => affine[r][0] * voxel[0] + affine[r][1] * voxel[1] + affine[r][2] * voxel[2] + affine[r][3]);
    this.scene.scene.crosshairPos = this.scene.mm2frac(mm as never, 0, true);
    this.scene.drawScene();
    this.tell();
  }

  private tell(): void {
    if (!this.base) return;
    const mm = [...this.scene.frac2mm(this.scene.scene.crosshairPos, 0, true)].slice(0, 3);
    const voxel = voxelAt(this.base, mm), over = this.over && voxelAt(this.over, mm), at = this.base.mm2vox(mm); // RAS order
    const [nx, ny] = this.over?.hdr!.dims.slice(1, 3) ?? [0, 0];
    this.moved({
      voxel, mm, ras: [...this.scene.frac2vox(this.scene.scene.crosshairPos)],
      image: this.base.getValue(at[0], at[1], at[2]),
      map: over && (this.raw[over[0] + nx * (over[1] + ny * over[2])] ?? null),
    });
  }
}

/** The voxel of the file at a position in mm: the inverse of the affine, by Cramer's rule. */
function voxelAt(volume: NVImage, mm: number[]): number[] {
  const rows = volume.hdr!.affine, column = (k: number): number[] => [0, 1, 2].map(r => rows[r][k]);
  const [a, b, c, away] = [column(0), column(1), column(2), [0, 1, 2].map(r => mm[r] - rows[r][3])];
  const box = (x: number[], y: number[], z: number[]): number =>
    x[0] * (y[1] * z[2] - y[2] * z[1]) - x[1] * (y[0] * z[2] - y[2] * z[0]) + x[2] * (y[0] * z[1] - y[1] * z[0]);
  return [box(away, b, c), box(a, away, c), box(a, b, away)].map(part => Math.round(part / box(a, b, c)));
}

async function read(content: ArrayBuffer, name: string, how: Record<string, unknown>): Promise<NVImage> {
  return NVImage.loadFromUrl({ url: content, name: `${name}.nii.gz`, trustCalMinMax: false, ...how } as never);
}
