// Moving tensors between devices.

import { follow, recordEntry } from "../core/tape.js";
import { Tensor } from "../core/tensor.js";
import { currentTrace } from "../core/trace.js";
import { bytesOf } from "../dtype.js";
import { type InlineNumber, inlineBytes, type Storage, transfer, upload } from "../runtime/device.js";
import { type Device, deviceNumber } from "../runtime/devices.js";
import { checkTensor } from "./checks.js";

/**
 * The same values on another device; a handle to the very same memory where they are there already. Waits until they have
 * been computed, as dataSync() does. Derivatives flow back to the device that they come from.
 *
 * @throws UsageError for what names no device; DeviceError, with the reason, for a device that cannot be used. A call of a
 *   compiled function, which runs on one device, throws UsageError where values move to another in it.
 * @example
 * const x = ones([2, 3]).to("cpu");
 * x.device; // "cpu"
 */
export function to(x: Tensor, device: Device): Tensor {
  checkTensor("to", "x", x);
  const target = deviceNumber("to", device);
  if (x.traced) {
    // Where the program runs may depend on cells that are yet to be read.
    currentTrace()?.expectedDevices.add(target);
    return follow(x);
  }
  const operand = x.operand("to");
  const from = x.device;
  if (operand.handle !== 0 && (operand as Storage).device === target) return follow(x);
  const storage =
    operand.handle === 0
      ? upload(new Uint8Array(inlineBytes(operand as InlineNumber, bytesOf[x.dtype])), target)
      : transfer(operand as Storage, target);
  const moved = new Tensor(x.shape, x.dtype, { storage });
  recordEntry({
    inputs: [x],
    outputs: [moved],
    backward: ([cotangent]) => [cotangent && to(cotangent, from)],
  });
  return moved;
}
