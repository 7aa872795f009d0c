"""The keys of Hugging Face configs: their spellings, and those that change no cost.

Source: the configuration classes of transformers 5.23 and the configs of the families in `families.py`.
"""

SPELLINGS: dict[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_size", "n_embd", "n_embed", "d_model", "hidden_dim"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "num_key_value_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "intermediate_size": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "ffn_embed_dim"),
    "max_position_embeddings": (
        "max_position_embeddings",
        "n_positions",
        "max_sequence_length",
        "max_seq_len",
        "model_max_length",
        "seq_length",
    ),
    "num_experts": ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"),
    "num_experts_per_tok": (
        "num_experts_per_tok",
        "num_experts_per_token",
        "experts_per_token",
        "top_k_experts",
        "moe_top_k",
        "moe_k",
    ),
    "n_shared_experts": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
}
"""A fact under the name that this package uses, with every key that may hold it, the commonest first."""

IGNORED: frozenset[str] = frozenset(
    """
    _name_or_path architectures auto_map transformers_version torch_dtype dtype name model_name tokenizer_class
    use_cache cache_implementation _attn_implementation attn_implementation gradient_checkpointing use_flash_attn
    rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps norm_epsilon
    rope_theta rope_scaling rope_local_base_freq rope_parameters rope_interleave rotary_emb_base rope_type
    original_max_position_embeddings initial_context_length n_ctx long_rope short_factor long_factor
    pretraining_tp ep_size tp_size slow_but_exact masked_softmax_fusion bias_dropout_fusion offset_alibi
    attention_softmax_in_fp32 scale_attention_softmax_in_fp32 scale_attn_weights reorder_and_upcast_attn
    scale_attn_by_inverse_layer_idx apply_residual_connection_post_layernorm skip_bias_add layer_norm_elementwise_affine
    output_router_logits output_hidden_states output_attentions return_dict return_dict_in_generate
    router_aux_loss_coef router_jitter_noise input_jitter_noise aux_loss_alpha seq_aux router_z_loss_coef moe_norm_min
    norm_topk_prob routed_scaling_factor scoring_func topk_method n_group topk_group num_expert_group moe_renormalize
    expert_selection_fn shared_expert_combination_strategy use_routing_bias route_norm
    time_step_limit time_step_min time_step_max time_step_floor
    swiglu_limit query_pre_attn_scalar logit_scale embedding_multiplier residual_multiplier logits_scaling
    attention_multiplier attn_scale floor_scale attn_temperature_tuning use_gemma_norm qk_layernorm_eps
    problem_type id2label label2id chunk_size_feed_forward task_specific_params is_decoder
    tie_encoder_decoder cross_attention_hidden_size finetuning_task pruned_heads prefix
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
    typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences output_scores forced_bos_token_id forced_eos_token_id remove_invalid_values
    exponential_decay_length_penalty suppress_tokens begin_suppress_tokens use_bfloat16 torchscript tf_legacy_loss
    summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
    embd_pdrop resid_pdrop attn_pdrop _remove_final_layer_norm
    """.split()  # noqa: SIM905 - as a list it would be one word a line
)
"""Keys that change neither shapes nor the work: numerics, token ids, training, generation and bookkeeping."""

UNMODELLED: dict[str, str] = {
    "is_encoder_decoder": "an encoder beside the decoder",
    "add_cross_attention": "cross-attention",
    "qk_layernorm": "norms of queries and keys that this family does not have",
    "index_topk": "a sparse-attention indexer",
    "sparse_attention_config": "block-sparse attention",
    "kv_lora_rank": "latent attention in a family that is read as grouped attention",
    "hc_mult": "hyper-connections",
    "num_kv_shared_layers": "layers that share a KV cache",
    "hidden_size_per_layer_input": "per-layer embeddings",
    "attention_k_eq_v": "values that are the keys",
    "moe_latent_size": "experts in a latent space",
    "linear_num_key_heads": "linear attention",
    "mamba_num_heads": "state-space layers",
    "ssm_state_size": "state-space layers",
    "num_global_key_value_heads": "another number of KV heads in global layers",
    "global_head_dim": "another head width in global layers",
    "swa_num_key_value_heads": "another number of KV heads in window layers",
    "block_configs": "layers of different widths",
}
"""Keys whose value changes the work in a way that no block kind describes yet: reading on would misprice the model."""


def is_irrelevant(key: str) -> bool:
    """Whether a key can be skipped without changing any cost."""
    if key in IGNORED or key.startswith(("initializer_", "mup_")):
        return True
    return "dropout" in key or key.endswith(("_token_id", "_token_ids", "_token_index", "_pdrop"))
