_base_ = 'lcr_vrwkv6_tiny.py'

# VRWKV6-S's layers: norms after the branches, and LayerScale
model = dict(
    backbone=dict(
        embed_dims=384,
        num_heads=6,
        layer=dict(post_norm=True, layer_scale=1e-5),
        init_cfg=dict(checkpoint='checkpoints/lcr_vrwkv6_small.pth')),
    cls_head=dict(in_channels=768))
