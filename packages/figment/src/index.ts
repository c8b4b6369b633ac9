// figment: the whole toolkit under one name.

export * from "@figment/diffusion";
export * from "@figment/gan";
export * from "@figment/io";
export * from "@figment/metrics";
export * from "@figment/nn";
export * from "@figment/tensor";
export * from "@figment/vae";
