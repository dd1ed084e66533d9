// moe_route: softmax over the router's logits, and the top_k experts of each token with their weights.
//
//   logits (rows, num_experts) float32 -> experts (rows, top_k) int32, best first, the lower id among equals;
//   weights (rows, top_k) float32, divided by their sum if `normalise` is set
//
// Shazeer et al. 2017; order of softmax and top-k as in transformers' modeling_qwen3_moe.py. A simdgroup a row. Each
// round takes the largest logit after the last one taken, so nothing has to be marked or kept.
#include <metal_stdlib>
using namespace metal;

struct MoeRouteArgs {
  uint num_experts;
  uint top_k;
  uint normalise;
};

constant constexpr float LARGEST = 3.4028235e38f;
constant constexpr uint NO_EXPERT = 0xFFFFFFFFu;

inline float router_logit(device const float* logits, uint expert) { return clamp(logits[expert], -LARGEST, LARGEST); }

kernel void moe_route(constant MoeRouteArgs& args [[buffer(0)]], device const float* logits [[buffer(1)]],
                      device int* experts [[buffer(2)]], device float* weights [[buffer(3)]],
                      uint row [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
  device const float* row_logits = logits + ulong(row) * args.num_experts;
  device int* row_experts = experts + ulong(row) * args.top_k;
  device float* row_weights = weights + ulong(row) * args.top_k;
  float last = LARGEST;
  uint last_expert = NO_EXPERT;  // one less than the first
  float largest = 0.0f;
  float chosen_sum = 0.0f;
  for (uint slot = 0; slot < args.top_k; slot++) {
    float best = -LARGEST;
    uint best_expert = NO_EXPERT;
    for (uint expert = lane; expert < args.num_experts; expert += 32) {
      float value = router_logit(row_logits, expert);
      bool is_left = value < last || (value == last && expert + 1 > last_expert + 1);
      if (is_left && (value > best || (value == best && expert < best_expert))) {
        best = value;
        best_expert = expert;
      }
    }
    last = simd_max(best);
    last_expert = simd_min(best == last ? best_expert : NO_EXPERT);
    // Logits that are no numbers choose nothing: the result stays a valid expert.
    last_expert = last_expert == NO_EXPERT ? slot : last_expert;
    largest = slot == 0 ? last : largest;
    chosen_sum += precise::exp(last - largest);
    if (lane == 0) {
      row_experts[slot] = int(last_expert);
    }
  }
  float sum = 0.0f;
  for (uint expert = lane; expert < args.num_experts; expert += 32) {
    sum += precise::exp(row_logits[expert] - largest);
  }
  float total = simd_sum(sum);
  float divisor = args.normalise != 0 ? chosen_sum : total;
  for (uint slot = lane; slot < args.top_k; slot += 32) {
    row_weights[slot] = precise::exp(row_logits[row_experts[slot]] - largest) / divisor;
  }
}
