// Where data sets are published, and what their files must hash to. Checksums are those that their publishers or torchvision
// give; MNIST's own page is gone, its files are kept by the mirrors named here.

/** A file to be fetched. */
export interface RemoteFile {
  readonly name: string;
  readonly bytes: number;
  readonly checksum: { readonly algorithm: "md5" | "sha256"; readonly hex: string };
}

/** A data set that can be fetched. */
export interface RemoteDataset {
  readonly name: string;
  readonly title: string;
  /** Folders on the web that have its files, in the order in which they are tried. */
  readonly places: readonly string[];
  readonly files: readonly RemoteFile[];
}

/** The four files of a set that is made like MNIST. */
function idxFiles(...facts: readonly (readonly [bytes: number, md5: string])[]): RemoteFile[] {
  const names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
  return facts.map(([bytes, hex], i) => ({
    name: `${names[i]}-ubyte.gz`,
    bytes,
    checksum: { algorithm: "md5", hex },
  }));
}

/** All data sets that can be fetched, by name. */
export const remoteDatasets: ReadonlyMap<string, RemoteDataset> = new Map(
  [
    {
      name: "mnist",
      title: "MNIST: 70,000 handwritten digits, 28 × 28, grey",
      places: ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"],
      files: idxFiles(
        [9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"],
        [28881, "d53e105ee54ea40749a09fcbcd1e9432"],
        [1648877, "9fb629c4189551a2d022fa330f9573f3"],
        [4542, "ec29112dd5afa0611ce80d1b7f02629c"],
      ),
    },
    {
      name: "fashion-mnist",
      title: "Fashion-MNIST: 70,000 pieces of clothing, 28 × 28, grey",
      places: [
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
      ],
      files: idxFiles(
        [26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"],
        [29515, "25c81989df183df01b3e8a0aad5dffbe"],
        [4422102, "bef4ecab320f06d8554ea6380940ec79"],
        [5148, "bb300cfdad3c16e7a12a480ee83cd310"],
      ),
    },
    {
      name: "cifar10",
      title: "CIFAR-10: 60,000 photographs of ten classes, 32 × 32, colour",
      places: ["https://www.cs.toronto.edu/~kriz/"],
      files: [
        {
          name: "cifar-10-binary.tar.gz",
          bytes: 170052171,
          checksum: { algorithm: "sha256", hex: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd" },
        },
      ],
    },
  ].map((set) => [set.name, set as RemoteDataset]),
);
