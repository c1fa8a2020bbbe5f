@echo off
rem Drop a text, a folder of texts or a file of records onto this file: an adapter is trained and put beside it. The same
rem again goes on with a run that was stopped.
setlocal
chcp 65001 >nul
if exist "%~dp0lora.exe" goto whole
echo lora.exe is not beside this file. Unpack the whole zip (right-click it, Extract all), and drop your text onto the
echo train-on-this.bat in the folder that you then get.
goto end
:whole
if not "%~1"=="" goto given
echo Nothing to train on. In the Explorer, drag a text, or a folder of texts, onto train-on-this.bat.
goto end
:given
rem Round a name without spaces the Explorer puts no quotes, whatever else is in it.
if exist "%~1" goto ask
echo There is no file "%~1". If its name holds one of the signs ^& ^^ , ; = rename it without.
goto end
:ask
set "model="
set /p "model=Which model? Drag its .gguf file into this window, then press Enter: "
if not defined model goto end
set "model=%model:"=%"
if not defined model goto end
if exist "%model%" goto train
echo There is no file "%model%".
goto ask
:train
"%~dp0lora.exe" train "%model%" %* -o "%~dpn1-lora"
:end
echo.
pause
