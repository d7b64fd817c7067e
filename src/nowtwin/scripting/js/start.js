// Last: what scripts find is now complete.

rememberGlobals();
return invoke;
