// A worker thread that draws with a model of the thread that started it, and posts what it got.

import { parentPort, workerData } from "node:worker_threads";
import { assertNoLeaks, RemoteModel } from "figment";

const remote = new RemoteModel(workerData.port);

const tell = (promise) =>
  promise.then(
    (images) => {
      const numbers = [...images.dataSync()];
      const { shape } = images;
      images.dispose();
      return { shape, numbers };
    },
    (error) => ({ name: error.constructor.name, message: error.message }),
  );

const stop = new AbortController();
const stopped = tell(remote.sample(1, { seed: 1000, signal: stop.signal }));
stop.abort();
const results = {
  drawn: await tell(remote.sample(2, { seed: 5, label: 3 })),
  rows: await tell(remote.interpolate({ seed: 5, frames: 3 })),
  wrong: await tell(remote.sample(2, { label: 10 })),
  stopped: await stopped,
};
remote.close();
assertNoLeaks();
parentPort.postMessage(results);
