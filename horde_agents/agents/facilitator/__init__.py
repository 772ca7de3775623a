"""The gateway for users: REST in front, validators' links behind."""
