// @figment/io: everything that Figment reads and writes.
//   files/        atomic writing, reading in ranges, zip archives, the cache folder
//   elements/     element types of files, and tensors made of their bytes
//   pickle/       Python's pickles as inert values
//   torch/        PyTorch's files, browsed and read lazily
//   npy/          NumPy's files
//   safetensors/  the file format of weights, read lazily and with suspicion, written atomically
//   convert/      files of tensors of any format: listing and converting them
//   checkpoint/   saving and resuming state, saving and loading models
//   data/         data sets: the embedded digits, MNIST's files, CIFAR-10, folders of images
//   transforms/   what is done to images on their way into batches
//   loader/       seeded, resumable batches made on a worker thread
//   images/       image files, grids, strips, moving pictures and loss curves
// Imports @figment/tensor, and sharp and tar when they are needed.

export {
  type CheckpointParts,
  loadCheckpoint,
  loadModel,
  saveCheckpoint,
  saveModel,
} from "./checkpoint/checkpoint.js";
export { type Converted, convertCheckpoint } from "./convert/convert.js";
export { type InspectedEntry, type Inspection, inspectFile } from "./convert/inspect.js";
export { showBytes, showInspection } from "./convert/inspectText.js";
export { type OpenTensorsOptions, openTensors, type TensorFormat } from "./convert/open.js";
export { type Cifar10Options, cifar10 } from "./data/cifar10.js";
export { Dataset, type DatasetSource, type Example, type ImmediateDataset, openSource } from "./data/dataset.js";
export { type DigitsOptions, digits } from "./data/digits/digits.js";
export type { DigitStyles } from "./data/digits/skeletons.js";
export {
  defaultCache,
  type FetchProgress,
  type GetDatasetOptions,
  getDataset,
  listDatasets,
} from "./data/download/getDataset.js";
export type { RemoteDataset, RemoteFile } from "./data/download/sources.js";
export { type ImageFolderOptions, imageFolder } from "./data/imageFolder.js";
export { fashionMnist, type MnistOptions, mnist } from "./data/mnist.js";
export { openDataset } from "./data/openDataset.js";
export type { ReadOptions } from "./elements/decode.js";
export type { TensorFile, TensorInfo } from "./elements/tensorFile.js";
export type { TensorToWrite } from "./elements/toWrite.js";
export type { FileType } from "./elements/types.js";
export { DataError } from "./errors.js";
export { makeFolder, type WriteBytes, writeAtomically, writeFileAtomic, writeJson } from "./files/atomic.js";
export { checkPath } from "./files/checkPath.js";
export { isRunning, startOfProcess } from "./files/processes.js";
export { withoutWaiting } from "./files/withoutWaiting.js";
export { type AnimationOptions, saveAnimation } from "./images/animation.js";
export {
  decodeImage,
  encodeImage,
  type ImageFormat,
  type LoadImageOptions,
  loadImage,
  type RangeOptions,
  readImage,
  saveImage,
  writeImage,
} from "./images/files.js";
export { type GridOptions, imageGrid, saveGrid, saveStrip } from "./images/grid.js";
export { type LossCurveOptions, type LossPoint, lossCurve, saveLossCurve } from "./images/lossCurve.js";
export { type Batch, Loader, type LoaderOptions } from "./loader/loader.js";
export { loadNpy, loadNpz } from "./npy/read.js";
export { saveNpy, saveNpz } from "./npy/write.js";
export { PickleGlobal, PickleRecord, type PickleValue } from "./pickle/values.js";
export { loadTensors, openSafetensors } from "./safetensors/load.js";
export { SafetensorsFile } from "./safetensors/read.js";
export { saveTensors } from "./safetensors/write.js";
export { type LoadTorchOptions, loadTorch, type ReadTorchOptions, readTorch, TorchFile } from "./torch/file.js";
export type { UnknownObjects } from "./torch/host.js";
export { TorchTensor } from "./torch/tensor.js";
export type { Leaf, TorchValue } from "./torch/tree.js";
export type { Size, Transform } from "./transforms/transform.js";
