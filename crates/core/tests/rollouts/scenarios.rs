//! What must hold, case by case.
