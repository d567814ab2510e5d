# 5.3 M parameters at 27 classes, the paper's size; 16 frames at 224x224
model = dict(
    type='LCRRecognizer',
    backbone=dict(
        type='LCR',
        embed_dims=192,
        num_heads=3,
        num_layers=8,
        patch_size=16,
        stem='patch',
        # without A, rounding errors double in each layer
        layer=dict(type='CrossRWKVLayer', residual=True),
        position_grid=(14, 14)),
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
