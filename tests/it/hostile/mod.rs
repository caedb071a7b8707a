// Requests whose end is told differently by different readers, and a second one hidden behind.
mod smuggling;
