# 0.19 M parameters, convolutional stem: from scratch on little data
model = dict(
    type='LCRRecognizer',
    backbone=dict(
        type='LCR',
        embed_dims=64,
        num_heads=2,
        num_layers=2,
        patch_size=8,
        layer=dict(type='CrossRWKVLayer', residual=False),
        hidden_rate=2.5,
        stem='conv',
        stem_input='both'),
    cls_head=dict(
        type='LCRHead',
        num_classes=None,
        in_channels=128,
        label_smooth_eps=0.1,
        topk=(1, )),
    data_preprocessor=dict(
        type='LCRDataPreprocessor',
        mean=[123.675, 116.28, 103.53, 0.],
        std=[58.395, 57.12, 57.375, 255.],
        to_rgb=False,
        format_shape='NCTHW'))
