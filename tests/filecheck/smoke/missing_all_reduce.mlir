// RUN: not gambrel-opt %s 2>&1 | filecheck %s

// A sum over tp that nobody has reduced meets a value that is whole.
dist.mesh "megatron" axes ["tp"]
structure.phase "prefill" {
  %x = model.input "x" dims ["batch", "hidden"] : !model.t<bf16, [b, 64]>
  %h = model.input "h" dims ["batch", "ffn"] : !model.t<bf16, [b, 256{tp}]>
  %down = model.weight "mlp.down" role "matmul" dims ["ffn", "hidden"] : !model.t<bf16, [256{tp}, 64]>
  %y = model.einsum "bf,fd->bd" %h, %down {label = "mlp.down"} : (!model.t<bf16, [b, 256{tp}]>, !model.t<bf16, [256{tp}, 64]>) -> !model.t<bf16, [b, 64] partial{tp}>
  %z = model.map "add" %x, %y {label = "add"} : (!model.t<bf16, [b, 64]>, !model.t<bf16, [b, 64] partial{tp}>) -> !model.t<bf16, [b, 64]>
  structure.yield
}
// CHECK: missing_all_reduce.mlir:10:{{.*}} a collective is missing
