// The convolutions of hopper_check; part of hopper_check.cu.

struct ConvCase {
  int n, h, w, c, o, kh = 3, kw = 3;
  int stride[2] = {1, 1}, lo[2] = {1, 1}, hi[2] = {1, 1}, dilation[2] = {1, 1};
  Format format = Format::bf16, out = Format::bf16;
  bool bias = false;
  int activation = kNoActivation;
};

void convCase(Kind kind, const ConvCase& c) {
  Conv2dParams p = {};
  p.n = c.n, p.h = c.h, p.w = c.w, p.c = c.c, p.o = c.o, p.kh = c.kh, p.kw = c.kw, p.groups = 1;
  for (int i = 0; i < 2; i++) {
    p.stride[i] = c.stride[i], p.padLo[i] = c.lo[i], p.padHi[i] = c.hi[i];
    p.dilation[i] = c.dilation[i];
  }
  p.ho = (c.h + c.lo[0] + c.hi[0] - c.dilation[0] * (c.kh - 1) - 1) / c.stride[0] + 1;
  p.wo = (c.w + c.lo[1] + c.hi[1] - c.dilation[1] * (c.kw - 1) - 1) / c.stride[1] + 1;
  const bool forward = kind == Kind::forward;
  p.bias = forward && c.bias;
  p.activation = forward ? c.activation : 0;
  const std::vector<int64_t> image = {p.n, p.h, p.w, p.c}, weights = {p.o, p.kh, p.kw, p.c},
                             result = {p.n, p.ho, p.wo, p.o};
  const bool second = kind == Kind::weightGrad;
  Tensor a(c.format, kind == Kind::inputGrad ? result : image, 21, 1);
  Tensor b(c.format, second ? result : weights, 22, 1);
  Tensor bias(Format::f32, {p.o}, 23, 3);
  Tensor out(c.out, forward ? result : second ? weights : image, 0, 0);
  const Operand in[3] = {a.operand, b.operand, bias.operand};

  Conv2dInputGradParams inputGrad = {};
  Conv2dWeightGradParams weightGrad = {};
  static_assert(sizeof inputGrad == 80 && sizeof weightGrad == 80);
  std::memcpy(static_cast<void*>(&inputGrad), &p, offsetof(Conv2dParams, scale));
  std::memcpy(static_cast<void*>(&weightGrad), &p, offsetof(Conv2dParams, scale));
  OpCall call = {&p, sizeof p, in, p.bias ? 3 : 2, &out.operand, 1};
  const char* op = "conv2d";
  if (kind == Kind::inputGrad) {
    op = "conv2dInputGrad";
    call.params = &inputGrad, call.paramBytes = sizeof inputGrad;
  } else if (second) {
    op = "conv2dWeightGrad";
    call.params = &weightGrad, call.paramBytes = sizeof weightGrad;
  }
  char title[160];
  std::snprintf(title, sizeof title, "%dx%dx%d %d->%d %dx%d s%d,%d p%d,%d+%d,%d d%d,%d %s->%s%s%s",
                c.n, c.h, c.w, c.c, c.o, c.kh, c.kw, c.stride[0], c.stride[1], c.lo[0], c.lo[1],
                c.hi[0], c.hi[1], c.dilation[0], c.dilation[1], kFormatNames[int(c.format)],
                kFormatNames[int(c.out)], p.bias ? " bias" : "", p.activation ? " act" : "");
  runCase(title, op, call, 2.0 * p.n * p.ho * p.wo * double(p.o) * p.c * p.kh * p.kw,
          convReference(kind, p));
}

constexpr auto bf16 = Format::bf16, f16 = Format::f16, f32 = Format::f32;

std::vector<ConvCase> convCases1x1() {
  return {
      {1, 16, 16, 64, 64, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, bf16, f32},
      {3, 17, 19, 96, 200, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, f16, f16, true, kSilu},
      {4, 32, 32, 320, 640, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, bf16, bf16, true},
      {2, 16, 16, 64, 128, 1, 1, {2, 2}, {0, 0}, {0, 0}, {1, 1}, bf16, bf16},
  };
}
std::vector<ConvCase> convCasesPlain() {
  return {
      {1, 16, 16, 64, 64, 3, 3, {1, 1}, {0, 0}, {0, 0}, {1, 1}, bf16, f32},
      {1, 16, 16, 64, 64, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {2, 8, 8, 128, 256, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, f16, f16, true, kSilu},
      {8, 32, 32, 64, 64, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, bf16, bf16, true},
      {4, 28, 28, 128, 128, 3, 3, {2, 2}, {1, 1}, {1, 1}, {1, 1}, bf16, bf16},
      {4, 16, 16, 128, 256, 4, 4, {2, 2}, {1, 1}, {1, 1}, {1, 1}, bf16, bf16},
      {1, 8, 8, 256, 512, 4, 4, {2, 2}, {1, 1}, {1, 1}, {1, 1}, bf16, bf16},
      {2, 64, 64, 320, 320, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, bf16, bf16},
  };
}
std::vector<ConvCase> convCasesOdd() {
  return {
      {3, 13, 11, 64, 72, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {3, 13, 11, 96, 104, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, f16, f32},
      {3, 13, 11, 64, 64, 3, 5, {1, 1}, {0, 3}, {2, 1}, {1, 1}, bf16, f32},
      {3, 13, 11, 64, 64, 5, 2, {1, 1}, {4, 0}, {1, 1}, {1, 1}, bf16, f32},
      {2, 23, 17, 72, 136, 3, 3, {2, 1}, {1, 1}, {0, 1}, {1, 1}, bf16, f32},
      {2, 23, 17, 72, 136, 3, 3, {1, 2}, {1, 0}, {1, 1}, {1, 1}, bf16, f32},
      {2, 23, 17, 64, 64, 3, 3, {1, 1}, {2, 4}, {2, 4}, {2, 4}, bf16, f32},
      {2, 29, 31, 64, 64, 5, 3, {3, 2}, {2, 1}, {2, 1}, {1, 2}, bf16, f32},
      {2, 29, 31, 64, 64, 5, 3, {2, 3}, {2, 1}, {2, 1}, {2, 1}, bf16, f32},
      {5, 7, 5, 32, 40, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, f16, f16, true, kRelu},
      {67, 1, 1, 64, 64, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {2, 40, 3, 64, 64, 7, 1, {1, 1}, {3, 0}, {3, 0}, {1, 1}, bf16, f32},
      {2, 21, 21, 16, 24, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {2, 21, 21, 8, 8, 3, 3, {2, 2}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {2, 9, 7, 64, 512, 5, 4, {2, 2}, {2, 1}, {2, 1}, {1, 1}, bf16, f32},
      {3, 27, 25, 64, 64, 3, 4, {2, 3}, {1, 1}, {1, 1}, {1, 1}, f16, f16},
      {130, 1, 5, 64, 64, 1, 3, {2, 2}, {0, 1}, {0, 1}, {1, 1}, bf16, f32},
      {2, 9, 11, 64, 64, 3, 3, {4, 4}, {1, 1}, {1, 1}, {1, 1}, bf16, bf16},
  };
}
std::vector<ConvCase> convCasesLarge() {
  return {
      {8, 64, 64, 320, 320},
      {8, 32, 32, 512, 512},
      {8, 64, 64, 512, 512},
      {128, 32, 32, 64, 64},
      {128, 32, 32, 128, 128},
      {128, 16, 16, 256, 256},
      {64, 64, 64, 128, 256, 4, 4, {2, 2}},
      {32, 16, 16, 128, 256, 4, 4, {2, 2}},
      {64, 8, 8, 256, 512, 4, 4, {2, 2}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {64, 16, 16, 128, 256, 4, 4, {2, 2}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {64, 32, 32, 64, 128, 4, 4, {2, 2}, {1, 1}, {1, 1}, {1, 1}, bf16, f32},
      {8, 256, 256, 64, 32},
      {8, 16, 16, 1280, 1280},
      {1, 64, 64, 320, 320},
  };
}

void convGroup(Kind kind, const std::vector<ConvCase>& cases) {
  for (const ConvCase& c : cases) convCase(kind, c);
}
