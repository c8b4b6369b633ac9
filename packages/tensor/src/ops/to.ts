// Moving tensors between devices.

import { follow, recordEntry } from "../core/tape.js";
import { Tensor } from "../core/tensor.js";
import { bytesOf } from "../dtype.js";
import { UsageError } from "../errors.js";
import { currentDevice, type InlineNumber, inlineBytes, type Storage, transfer, upload } from "../runtime/device.js";
import { type Device, deviceName, deviceNumber } from "../runtime/devices.js";
import { checkTensor } from "./checks.js";

/**
 * The same values on another device; a handle to the very same memory where they are there already. Waits until they have
 * been computed, as dataSync() does. Derivatives flow back to the device that they come from.
 *
 * @throws UsageError for what names no device, and in a compiled function, which runs on one device, for another; DeviceError,
 *   with the reason, for a device that cannot be used.
 * @example
 * const x = ones([2, 3]).to("cpu");
 * x.device; // "cpu"
 */
export function to(x: Tensor, device: Device): Tensor {
  checkTensor("to", "x", x);
  const target = deviceNumber("to", device);
  if (x.traced) {
    if (target === currentDevice()) return follow(x);
    const here = deviceName(currentDevice());
    throw new UsageError(`to: this compiled function runs on ${here}; move its arguments to ${device} before the call`);
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
