# 11.2 M parameters at 400 classes: VRWKV6-T's layers, and LCR's memory;
# 16 frames at 224x224
model = dict(
    type='LCRRecognizer',
    backbone=dict(
        type='LCR',
        layer=dict(type='VRWKV6Layer'),
        embed_dims=192,
        num_heads=3,
        num_layers=12,
        patch_size=16,
        hidden_rate=4,
        stem='patch',
        rotary=False,
        position_grid=(14, 14),
        # by tools/convert_vrwkv.py; None starts from scratch
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/lcr_vrwkv6_tiny.pth',
            prefix='backbone.')),
    cls_head=dict(
        type='LCRHead',
        num_classes=None,
        in_channels=384,
        dropout_ratio=0.2,
        label_smooth_eps=0.1),
    data_preprocessor=dict(
        type='LCRDataPreprocessor',
        mean=[123.675, 116.28, 103.53, 0.],
        std=[58.395, 57.12, 57.375, 255.],
        to_rgb=False,
        format_shape='NCTHW'))
