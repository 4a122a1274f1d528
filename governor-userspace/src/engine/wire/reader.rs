//! A bounded cursor: cannot leave the message it was given.
